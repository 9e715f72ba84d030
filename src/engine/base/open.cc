// Looked at by O_PATH, which has no effect on anything, then opened by /proc's name for it.
#include "base/open.h"

#include <fcntl.h>

#include <cerrno>
#include <string_view>

#include "base/sys.h"

namespace stasis::sys {
namespace {

std::string_view name_of_type(mode_t type) {
  switch (type & S_IFMT) {
    case S_IFREG:
      return "a regular file";
    case S_IFDIR:
      return "a directory";
    case S_IFIFO:
      return "a fifo";
    case S_IFCHR:
      return "a character device";
    case S_IFBLK:
      return "a block device";
    case S_IFSOCK:
      return "a socket";
    default:
      return "a symbolic link";
  }
}

// /proc's links are followed, so that O_NOFOLLOW, which stays among the flags of an open file,
// needs the path again. What it leads to by then does not hold us up, and is compared.
Result<UniqueFd> open_not_following(const std::string& path, int flags, const struct stat& looked) {
  UniqueFd fd = TRY(open(path, flags | O_NONBLOCK | O_NOCTTY));
  const struct stat now = TRY(fstat(fd.get()));
  if (now.st_dev != looked.st_dev || now.st_ino != looked.st_ino) {
    return fail(ESTALE, "cannot open " + path + ": it was replaced just now");
  }
  if ((flags & O_NONBLOCK) != 0) return fd;
  const int set = TRY(check(::fcntl(fd.get(), F_GETFL), "look at", path));
  TRY(check(::fcntl(fd.get(), F_SETFL, set & ~O_NONBLOCK), "set the flags of", path));
  return fd;
}

}  // namespace

Result<UniqueFd> open_of_type(const std::string& path, int flags, mode_t type) {
  UniqueFd looked = TRY(open(path, O_PATH | (flags & (O_NOFOLLOW | O_DIRECTORY))));
  const struct stat found = TRY(fstat(looked.get()));
  if ((found.st_mode & S_IFMT) != (type & S_IFMT)) {
    std::string text = "cannot open " + path + ": it is ";
    text += name_of_type(found.st_mode);
    text += ", not ";
    text += name_of_type(type);
    return fail(ESTALE, std::move(text));
  }
  if ((flags & O_PATH) != 0) return looked;
  if ((flags & O_NOFOLLOW) != 0) return open_not_following(path, flags, found);
  auto fd = open("/proc/self/fd/" + std::to_string(looked.get()), flags);
  return fd ? std::move(fd) : error_of(fd.error().code, "open", path);
}

}  // namespace stasis::sys
