// Whether the file that a path leads to now can stand for the one that was saved.
#pragma once

#include <string>
#include <vector>

#include "resource/handler.h"
#include "resource/uses.h"

namespace stasis::resource {

// Files whose size and times mean nothing (proc, sysfs, cgroup, ...).
bool is_pseudo_filesystem(int fd);
// "a directory", "a fifo", ... for refusals.
std::string_view type_name(u32 mode);
// The flags that create opens a regular file with that is in its place.
int reopen_flags(u32 saved);
// What stands in the way of using the file at `path` (relocated) as `file`. Empty: nothing.
std::vector<Refusal> check_file(const model::RegularFile& file, const std::string& path,
                                const FileUse& use, const RestoreOptions& options);

}  // namespace stasis::resource
