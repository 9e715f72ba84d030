// What separate processes may share that our model gives each its own of: memory, descriptor table,
// working directory (clone(2) with CLONE_VM, CLONE_FILES, CLONE_FS).
#pragma once

#include <span>
#include <vector>

#include "base/result.h"
#include "base/types.h"

namespace stasis::capture {

// A refusal for every process that shares with another of them. `frozen`: they stand still. If not,
// a child of vfork(2) that runs in its parent's memory is none: it will let go of it.
std::vector<Refusal> sharing_refusals(std::span<const Pid> pids, bool frozen);

}  // namespace stasis::capture
