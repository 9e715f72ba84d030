// Whether what an image has by its path only may be opened again, asked as the open will ask.
#pragma once

#include <optional>
#include <string>

#include "base/result.h"

namespace stasis::resource {

// What sys::open_of_type(path, flags, type) would answer now, with the rights of this thread; null:
// a descriptor. It is not opened, since others could notice: inotify tells of it, to the very
// program that is being saved, and a lease is broken. `type` 0: of any type.
std::optional<Error> reopen_obstacle(const std::string& path, int flags, mode_t type);

}  // namespace stasis::resource
