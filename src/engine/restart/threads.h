// What each thread sets for itself, as scripts. Pure.
#pragma once

#include <optional>

#include "model/image.h"
#include "trace/script.h"

namespace stasis::restart {

// What of the machine decides about scheduling.
struct MachineFacts {
  u64 default_slice_ns = 0;  // sched_getattr's runtime of a thread that asked for none
  u32 saved_cpus = 0;        // Origin::cpus
  Bytes possible;            // affinity we may ask for, as sched_getaffinity(2) gives ours
};

// The mask to ask for: all CPUs where the thread had all of its machine's; nullopt where none of
// its CPUs is here, so that it keeps what it has.
std::optional<Bytes> affinity_for(const Bytes& saved, const MachineFacts& facts);

// Robust list, tid address, alternate stack, name, rseq, scheduling, timer slack.
trace::Script thread_script(const model::Thread& thread, const MachineFacts& facts);

}  // namespace stasis::restart
