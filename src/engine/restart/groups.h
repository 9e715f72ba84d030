// Process groups of the restarted processes. By default they have the group and session of who
// restarts, as with BLCR; the saved ones are for who asks. (Sessions begin as processes are made:
// become.h.)
#pragma once

#include "restart/passes.h"

namespace stasis::restart {

// Founds the groups, then lets everybody join: when the whole family is there, ghosts too.
Result<void> form_groups(BuildState& state);

}  // namespace stasis::restart
