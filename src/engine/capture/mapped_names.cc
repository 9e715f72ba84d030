// Names are tried, and what they lead to is compared with the area.
#include "capture/mapped_names.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>

#include "base/open.h"
#include "base/sys.h"
#include "resource/names.h"

namespace stasis::capture {
namespace {

bool is_device_of(const proc::Area& area, dev_t device) {
  return ::major(device) == area.device_major && ::minor(device) == area.device_minor;
}

// The device number that maps shows for a file, which on some filesystems (btrfs, overlayfs) is not
// st_dev: asked by mapping the file ourselves and reading our own maps.
Result<bool> maps_as(int fd, const proc::Area& area) {
  void* probe = ::mmap(nullptr, kPageSize, PROT_READ, MAP_PRIVATE, fd, 0);
  if (probe == MAP_FAILED) return false;
  const sys::Mapping owner(probe, kPageSize);
  const RemoteAddr address{reinterpret_cast<u64>(probe)};
  for (const proc::Area& own : TRY(proc::read_maps(::getpid()))) {
    if (own.start <= address && address < own.end) {
      return own.inode == area.inode && own.device_major == area.device_major &&
             own.device_minor == area.device_minor;
    }
  }
  return false;
}

// Opens the file at `path` if it is the one that the area maps. The program chose the path, and
// maps writes a backslash and a newline alike: what it leads to may be anything.
Result<UniqueFd> open_if_same(const std::string& path, const proc::Area& area) {
  UniqueFd fd = TRY(sys::open_of_type(path, O_RDONLY | O_NOCTTY | O_NONBLOCK, S_IFREG));
  const struct stat status = TRY(sys::fstat(fd.get()));
  if (!TRY(maps_this(area, fd.get(), status)))
    return fail(ESTALE, path + " is another file than the one that is mapped");
  return fd;
}

}  // namespace

Result<bool> maps_this(const proc::Area& area, int fd, const struct stat& status) {
  if (status.st_ino == area.inode && is_device_of(area, status.st_dev)) return true;
  return maps_as(fd, area);
}

// The file that the area maps, by the name that maps shows or by another one. ENOENT: none is
// found.
Result<NamedFile> open_by_name(const proc::Area& area) {
  if (!area.deleted) {
    auto file = open_if_same(area.path, area);
    if (file) return NamedFile{area.path, std::move(*file)};
    if (file.error().code != ESTALE && file.error().code != ENOENT) {
      return std::move(file).context(fmt::format("mapped file {}", area.path)).take_error();
    }
  }
  // What a private mapping shows is saved with the process; its file is looked for no further, as
  // after an upgrade of a system there may be a hundred removed libraries.
  if (!area.shared) return fail(ENOENT, area.path + " is not there");
  for (const std::string& path : resource::names_of_inode(area.path, area.inode)) {
    auto file = open_if_same(path, area);
    if (file) return NamedFile{path, std::move(*file)};
  }
  return fail(ENOENT, area.path + " is not there by any name that was found");
}

}  // namespace stasis::capture
