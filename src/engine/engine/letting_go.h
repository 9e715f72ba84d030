// The signal that a checkpoint ends with.
#pragma once

#include <vector>

#include "base/result.h"
#include "base/types.h"
#include "trace/freeze.h"

namespace stasis::engine {

// Sends `signal` (its absolute value) to `pids`, some of those that are frozen, and lets all go. It
// is the first thing they see when they run on, so that nothing happens between the image and it.
// After SIGKILL they are awaited, so that their pids are free when a command that killed them
// returns. Signal 0: just lets go.
Result<void> thaw_with_signal(trace::Freeze& freeze, const std::vector<Pid>& pids, int signal);

// The same for processes that run; those that have ended meanwhile do not count.
Result<void> send_signal(const std::vector<Pid>& pids, int signal);

}  // namespace stasis::engine
