// Paths below /proc/PID of a process that is restarted. Pure.
#pragma once

#include <map>
#include <string>

#include "base/types.h"

namespace stasis::restart {

// The process (or thread) whose directory in /proc a path leads below; 0: no such path.
Pid process_of_path(const std::string& path);

// The same path for the ids that processes and threads have now.
std::string with_new_ids(const std::string& path, const std::map<Pid, Pid>& ids);

}  // namespace stasis::restart
