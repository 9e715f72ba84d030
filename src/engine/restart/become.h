// What a newborn does as soon as it is there and before it makes anybody: it becomes its own
// program, maps the shared memory that its descendants are to inherit, and begins its session.
#pragma once

#include "base/result.h"
#include "restart/passes.h"

namespace stasis::restart {

// The file that a process of the image executes, as one of our descriptors; -1: it stays a copy of
// its maker, as there is no such file or it would have another user's rights.
int executable_of(resource::RestoreContext& context, const model::Process& process);

// For a member that was just made; `state.readiness` knows it already.
Result<void> settle_in(BuildState& state, size_t member);

// To be called after births: the member may have been waiting for them.
Result<void> begin_session_when_ready(BuildState& state, size_t member);

}  // namespace stasis::restart
