// The rules of may_open() in fs/namei.c of the kernel, asked of what an O_PATH descriptor holds.
#include "resource/reopen.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/open.h"
#include "base/sys.h"
#include "resource/path.h"
#include "resource/rights.h"

namespace stasis::resource {
namespace {

int permissions_for(int flags) {
  switch (flags & O_ACCMODE) {
    case O_RDONLY:
      return R_OK;
    case O_WRONLY:
      return W_OK;
    default:
      return R_OK | W_OK;
  }
}

// O_NOATIME is for the owner of the file and for CAP_FOWNER.
Result<void> check_noatime(int fd, const std::string& path) {
  const Identity us = TRY(own_identity());
  const struct stat status = TRY(sys::fstat(fd));
  if (us.uid == status.st_uid || (us.capabilities >> CAP_FOWNER & 1) != 0) return {};
  return sys::error_of(EPERM, "open", path + " without a change of its access time (O_NOATIME)");
}

// What is append-only (chattr +a) is opened for writing with O_APPEND alone.
Result<void> check_append_only(int fd, int flags, const std::string& path) {
  struct statx about = {};
  if ((flags & O_ACCMODE) == O_RDONLY || (flags & O_APPEND) != 0) return {};
  if (::statx(fd, "", AT_EMPTY_PATH, STATX_TYPE, &about) != 0) return {};
  if ((about.stx_attributes & STATX_ATTR_APPEND) == 0) return {};
  return sys::error_of(EPERM, "open", path + " for writing: it is append-only (chattr)");
}

Result<void> ask(const std::string& path, int flags, mode_t type) {
  const int look_up = O_PATH | (flags & (O_NOFOLLOW | O_DIRECTORY));
  const UniqueFd found =
      TRY(type == 0 ? sys::open(path, look_up) : sys::open_of_type(path, look_up, type));
  if ((flags & O_PATH) != 0) return {};
  TRY(sys::check(
      ::faccessat(AT_FDCWD, fd_path(found.get()).c_str(), permissions_for(flags), AT_EACCESS),
      "open", path));
  if ((flags & O_NOATIME) != 0) TRY(check_noatime(found.get(), path));
  return check_append_only(found.get(), flags, path);
}

}  // namespace

std::optional<Error> reopen_obstacle(const std::string& path, int flags, mode_t type) {
  const auto answer = ask(path, flags, type);
  return answer ? std::nullopt : std::optional(answer.error());
}

}  // namespace stasis::resource
