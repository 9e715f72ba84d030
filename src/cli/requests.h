// What the options of the commands ask of the engine. Shared with libcr's helper, which reads the
// same options (include/stasis/request.h).
#pragma once

#include <string>

#include "base/result.h"
#include "base/unique_fd.h"
#include "checkpoint_options.h"
#include "engine/engine.h"
#include "restart_options.h"

namespace stasis::cli {

// With --fd the descriptor is duplicated.
Result<engine::CheckpointRequest> to_request(const CheckpointSettings& settings);

// The checkpoint, also where memory is limited (ulimit -v): ENOMEM, and what was begun is undone.
Result<engine::CheckpointReport> without_exceptions(engine::CheckpointRequest request);

// The context file as a descriptor of our own, which the restarted processes must not inherit: one
// that was given by number is closed, or, if it was a standard one, replaced by /dev/null.
Result<UniqueFd> open_source(const RestartSettings& settings);
// The context file for messages.
std::string source_name(const RestartSettings& settings);
engine::RestartRequest to_request(const RestartSettings& settings, UniqueFd source);

}  // namespace stasis::cli
