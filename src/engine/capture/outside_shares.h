// Open files and memory that processes which are to be saved have in common with others that are
// not: after a restart each has its own.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/types.h"

namespace stasis::capture {

// A sentence for each open file description (open(2): position, locks) of which a parent of `pids`,
// or a process of their sessions, has a descriptor as well, and for each object without a name that
// such a process maps too: who that is, and, if there is one, the option that saves both.
// Terminals, pipes, devices and directories are left out. Looks at /proc and kcmp(2) only; what
// other users' processes hold is not seen.
std::vector<std::string> describe_outside_shares(std::span<const Pid> pids);

}  // namespace stasis::capture
