// Letting go: the last thing that happens to a rebuilt process. Everything is as captured; nothing
// of ours is left in it.
#pragma once

#include "restart/passes.h"

namespace stasis::restart {

// The signal of the options, or what stops who was stopped; the last preparations.
Result<void> prepare_release(BuildState& state, size_t process);

// From here on they do not die with us: should we be killed before it has returned, all of them die
// or all of them run on.
void let_live(const BuildState& state);

// Detaches all threads. On error the target is still ours to kill.
Result<void> release_process(BuildState& state, size_t process);

}  // namespace stasis::restart
