// Those of the family that are not to live on: stand-ins, ghosts and zombies. And the end of all of
// them when a restart fails.
#pragma once

#include "base/result.h"
#include "restart/passes.h"

namespace stasis::restart {

// A member that was made but got a wrong id: as if it had never been. `outside` is its id as we see
// it, `inside` as its maker does. It has not had its first stop consumed.
Result<void> drop_child(Target& maker, const Member& member, Pid outside, Pid inside);

// When groups are complete: stand-ins and ghosts leave no trace (orphans go to init), zombies end
// as they once did and wait for their parents; the signals that tell of it are taken away again.
Result<void> end_transients(BuildState& state);

// Kills and reaps everybody made so far.
void abandon(BuildState& state);

}  // namespace stasis::restart
