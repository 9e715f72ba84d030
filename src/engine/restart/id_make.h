// Makes the threads and children of processes whose memory is still empty: one script in the
// creator, CLONE_PTRACE, so that each is ours and stopped before its first instruction.
#pragma once

#include <span>
#include <vector>

#include "base/result.h"
#include "restart/ids.h"
#include "restart/passes.h"

namespace stasis::restart {

enum class IdDemand {
  kSetTid,  // clone3(set_tid)
  kExpect,  // the counter must happen to give it
  kAny,
};

// A want, and the id that is to be passed over right before it (with kExpect; 0: none), which may
// take that many tries.
struct Order {
  IdWant want;
  Pid pass = 0;
  u64 tries = 0;
};

struct Made {
  size_t count = 0;     // of the orders, in order, that were made as wanted
  Pid last = 0;         // the last id that the kernel gave to anything here; 0: none
  bool missed = false;  // the next one would have got another id
  int code = 0;         // ... or the errno for which it could not be made
};

// The target of a process of the image; it must exist. (While births go on the targets are in the
// order in which they were born.)
Target& target_of(BuildState& state, size_t process);

// The process that makes it: of a thread its own, of a process the one of its parent in the image.
size_t creator_of(const model::Image& image, const IdWant& want);

// All orders must have the same creator, whose target exists. What got a wrong id is gone again.
Result<Made> make(BuildState& state, IdDemand demand, std::span<const Order> orders);

// Everything but the root, at once, for kSetTid and kAny. EEXIST and EPERM as errors.
Result<void> make_all(BuildState& state, IdDemand demand);

// The first target: the root.
Result<void> note_root(BuildState& state, Target target);

}  // namespace stasis::restart
