// The stop that a process is in again: by the very signal that stopped it, as its parent's wait(2)
// tells.
#pragma once

#include "base/result.h"
#include "base/types.h"
#include "model/process.h"
#include "restart/passes.h"

namespace stasis::restart {

// SIGSTOP, SIGTSTP, SIGTTIN or SIGTTOU; 0: it was not stopped. Pure.
int stop_signal_of(const model::Process& process);
// Whether the kernel would ignore stop signals other than SIGSTOP for this process: its group is
// orphaned, nobody outside of it but in its session is the parent of a member (setpgid(2)).
bool group_is_orphaned(Pid pid);

// Stops the process now (state.stopped), but for one whose first thread has yet to exit, which is
// stopped when it is released. `worker`: a thread of it that makes calls at `call_at`.
Result<void> stop_as_before(BuildState& state, size_t index, Pid worker, RemoteAddr call_at);

}  // namespace stasis::restart
