// Files and directories of /proc about one process: they come and go with it.
#pragma once

#include <string>

namespace stasis::resource {

// Whether an absolute path without links leads below /proc/PID.
bool is_about_a_process(const std::string& path);

}  // namespace stasis::resource
