// Emptying: a seized process that has just executed something, or is a copy of us, loses all of its
// memory but the vdso and gets the scratch area with the stub. Needed once a process.
#pragma once

#include "base/result.h"
#include "restart/target.h"

namespace stasis::restart {

// `pid` is in a ptrace stop where its registers may be set. On error it may be half empty: kill it.
Result<Target> empty_process(Pid pid, Scratch scratch);

}  // namespace stasis::restart
