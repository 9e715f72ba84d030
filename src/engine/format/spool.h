// A context file that comes through a pipe or socket, copied to where it can be read with seeks.
#pragma once

#include "base/result.h"
#include "base/unique_fd.h"

namespace stasis::format {

// Reads `fd` to its end into a file without a name (in TMPDIR or /var/tmp; else in memory). Stops
// with EINVAL at once if it does not begin as a context file.
Result<UniqueFd> spool(int fd);

}  // namespace stasis::format
