// Names that a file has besides the one under which it was removed.
#pragma once

#include <string>
#include <vector>

#include "base/types.h"

namespace stasis::resource {

// Paths that lead to this inode number, perhaps of another device: in the folder of
// `path`, then in those below and beside it (tmp/ and new/ of a mail folder). Not all that there
// can be: a few thousand names are looked at, as the program may stand still meanwhile.
std::vector<std::string> names_of_inode(const std::string& path, u64 inode);

}  // namespace stasis::resource
