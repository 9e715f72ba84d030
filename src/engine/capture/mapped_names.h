// The file that an area maps, found by a name: the one that /proc shows, or another one.
#pragma once

#include <sys/stat.h>

#include <string>

#include "base/result.h"
#include "base/unique_fd.h"
#include "proc/maps.h"

namespace stasis::capture {

// Whether the area maps what `fd` has open. Its device is not st_dev on some filesystems (btrfs,
// overlayfs): then the file is mapped here, to see how it shows.
Result<bool> maps_this(const proc::Area& area, int fd, const struct stat& status);

struct NamedFile {
  std::string path;
  UniqueFd file;
};
// ENOENT: no name of it was found.
Result<NamedFile> open_by_name(const proc::Area& area);

}  // namespace stasis::capture
