// Opening what a path leads to only if it is what it is taken for.
#pragma once

#include <sys/stat.h>

#include <string>

#include "base/result.h"
#include "base/unique_fd.h"

namespace stasis::sys {

// open(2) of a path that somebody else chose (an image, whoever may write there): it is opened
// only if it is a file of `type` (S_IFREG, S_IFIFO...), and by the kernel's own name for what was
// looked at, so that nothing else is: opening a fifo may wait for ever, opening a device may do
// anything. Another type: ESTALE. O_NOFOLLOW stays among the flags of what is opened.
Result<UniqueFd> open_of_type(const std::string& path, int flags, mode_t type);

}  // namespace stasis::sys
