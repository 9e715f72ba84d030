// What separate processes may share that our model gives each its own of: memory, descriptor table,
// working directory (clone(2) with CLONE_VM, CLONE_FILES, CLONE_FS).
#pragma once

#include <span>
#include <vector>

#include "base/result.h"
#include "base/types.h"

namespace stasis::capture {

// A refusal for every process that shares with one before it. `memory`: memory too, which a child
// of vfork(2) rightly shares as long as its parent runs.
std::vector<Refusal> sharing_refusals(std::span<const Pid> pids, bool memory);

}  // namespace stasis::capture
