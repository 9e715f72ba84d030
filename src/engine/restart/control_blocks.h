// libcr's control blocks in processes that are being rebuilt (stasis/handshake.h).
#pragma once

#include "base/result.h"
#include "restart/passes.h"

namespace stasis::restart {

// After rebuild_memory(): the block gets the ids that the process sees now, who restarts it and
// from what. Where threads had been parked in a checkpoint they find the verdict "restart" as soon
// as they run, and the process is noted in BuildState::blocks for who waits for its callbacks.
Result<void> rebuild_control_block(BuildState& state, size_t process);

// Whether the process is going to run callbacks, before which it gets no signal.
bool runs_callbacks(const BuildState& state, size_t process);

}  // namespace stasis::restart
