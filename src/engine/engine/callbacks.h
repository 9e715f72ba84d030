// Callbacks that run after a restart.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "engine/engine.h"
#include "restart/build.h"

namespace stasis::engine {

// Waits until the callbacks of all processes have returned, and sends the signals that are owed to
// them then. If one failed, or when cancelled (`progress` says false), everything built is killed
// and reaped: CR_ERSTRTABRT or ECANCELED. `notes`: processes that ended meanwhile.
Result<void> await_callbacks(const restart::Built& built, const Progress& progress,
                             std::vector<std::string>& notes);

}  // namespace stasis::engine
