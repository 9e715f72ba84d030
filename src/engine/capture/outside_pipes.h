// Pipes between processes that are to be saved and others that are not.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/types.h"

namespace stasis::capture {

// A sentence for each pipe that some of `pids` hold one end of and only others the other end: which
// descriptor it is, whose process the other end is, what a restart gives in its place, and, where
// they have a process group or session in common, the option that saves both. Looks at /proc only;
// what other users' processes hold is not seen.
std::vector<std::string> describe_outside_pipes(std::span<const Pid> pids);

// "; `cr_checkpoint -g 12` saves both", if they have a group or session in common.
std::string option_for_both(Pid ours, Pid theirs);

}  // namespace stasis::capture
