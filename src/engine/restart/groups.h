// Process group and session of the restarted processes. By default they are those of the caller, as
// with BLCR; the saved ones are for who asks.
#pragma once

#include "restart/passes.h"

namespace stasis::restart {

// Run in every process in the order of the image, so that leaders come before members.
Result<void> rebuild_groups(BuildState& state, size_t process);

}  // namespace stasis::restart
