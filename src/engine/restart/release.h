// Letting go: the last thing that happens to a rebuilt process. Everything is as captured; nothing
// of ours is left in it.
#pragma once

#include "restart/passes.h"

namespace stasis::restart {

// Detaches all threads; sends the signal of the options, or stops what was stopped. On error the
// target is still ours to kill.
Result<void> release_process(BuildState& state, size_t process);

}  // namespace stasis::restart
