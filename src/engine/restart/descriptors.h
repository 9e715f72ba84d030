// The two passes over the descriptors of a process (place_descriptors() is in passes.h).
#pragma once

#include "restart/passes.h"

namespace stasis::restart {

// What needs all processes, their descriptors and their memory: epoll members, owners, locks,
// timers. To be run late: timers start here.
Result<void> settle_descriptors(BuildState& state, size_t process);

}  // namespace stasis::restart
