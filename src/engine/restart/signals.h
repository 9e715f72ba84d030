// Signal actions and pending signals as scripts. Pure.
#pragma once

#include <signal.h>

#include <vector>

#include "base/result.h"
#include "model/process.h"
#include "trace/script.h"

namespace stasis::restart {

// All signals but SIGTRAP, which ends scripts, blocked.
inline constexpr u64 kBuildMask = ~(u64{1} << (SIGTRAP - 1));

// struct sigaction as the kernel takes it; the default action if the process has none of its own.
Bytes action_bytes(const model::Process& process, int signal);

// Sets the action of every signal, as some may be ignored by whoever started us; SIGTRAP's, which
// the scripts need, is set by finish_process() in the end.
void add_actions(const model::Process& process, trace::Script& script);

// Queues what was pending for the process; to be run by its leader (`pid`, as it sees itself) with
// everything blocked.
void add_pending(const std::vector<Bytes>& pending, Pid pid, trace::Script& script);
// ... for one thread, to be run by itself.
void add_thread_pending(const std::vector<Bytes>& pending, Pid pid, Pid tid, trace::Script& script);

// Splits a queue: SIGTRAPs cannot be pending while scripts run.
std::vector<Bytes> only_traps(const std::vector<Bytes>& pending);
std::vector<Bytes> without_traps(const std::vector<Bytes>& pending);
int signal_of(const Bytes& info);

}  // namespace stasis::restart
