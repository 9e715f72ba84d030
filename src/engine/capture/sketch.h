// A rough image of processes that run, for asking what a restart of them would meet.
#pragma once

#include <span>

#include "base/result.h"
#include "base/types.h"
#include "model/image.h"

namespace stasis::capture {

// What can be learnt of `pids` without stopping or changing anything: ids, credentials, limits,
// directories, scheduling, areas without contents, descriptors that have names. An error, or what
// is missing in it, says nothing: the processes run on and change.
Result<model::Image> sketch(std::span<const Pid> pids);

}  // namespace stasis::capture
