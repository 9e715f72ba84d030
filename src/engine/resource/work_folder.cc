// openat, mkfifoat, mkdirat, linkat and unlinkat in one opened directory.
#include "resource/work_folder.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/sys.h"
#include "resource/path.h"

namespace stasis::resource {
namespace {

// Things are finished more than once; a note is made once.
void note_once(RestoreContext& context, std::string text) {
  if (std::ranges::find(context.notes, text) == context.notes.end()) {
    context.notes.push_back(std::move(text));
  }
}

constexpr int kTries = 100;
constexpr u32 kSetIds = S_ISUID | S_ISGID;

std::string unforeseen(const std::string& name) {
  u64 number = 0;
  (void)::getrandom(&number, sizeof number, 0);  // 8 bytes: never short once the pool is ready
  return fmt::format("{}.{:016x}", name, number);
}

// Tries `name` first, then, if `any` will do, names that cannot have been taken in advance.
template <class Make>
Result<UniqueFd> under_a_free_name(const std::string& name, bool any, Make make) {
  auto made = make(name);
  for (int i = 0; any && !made && made.error().code == EEXIST && i < kTries; ++i) {
    made = make(unforeseen(name));
  }
  return made;
}

bool same_thing(const struct stat& a, const struct stat& b) {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

Error replaced(const std::string& name) {
  return fail(EBUSY, fmt::format("{} was replaced by somebody while it was made", name));
}

}  // namespace

Result<WorkFolder> WorkFolder::open(const std::string& path) {
  return WorkFolder(TRY(sys::open(path, O_PATH | O_DIRECTORY)), path == "/" ? "" : path, false);
}

Result<WorkFolder> WorkFolder::open_roots(const std::string& path) {
  return WorkFolder(TRY(open_roots_folder(path)), path == "/" ? "" : path, true);
}

// Somebody who may write here could take our name and put another thing under it; that one would
// be his own to remove, in a directory of his.
Result<void> WorkFolder::remove(const std::string& name, int fd, int flags, bool is_last) const {
  struct stat there = {};
  TRY(sys::check(::fstatat(fd_.get(), name.c_str(), &there, AT_SYMLINK_NOFOLLOW), "look up",
                 full(name)));
  if (!same_thing(there, TRY(sys::fstat(fd)))) return replaced(full(name));
  TRY(sys::check(::unlinkat(fd_.get(), name.c_str(), flags), "remove", full(name)));
  // In /tmp anybody may have given it a second name (sysctl fs.protected_hardlinks=0).
  if (roots_ && is_last && TRY(sys::fstat(fd)).st_nlink != 0) return replaced(full(name));
  return {};
}

Result<UniqueFd> WorkFolder::file(const std::string& name, int flags) const {
  UniqueFd fd =
      TRY(sys::open_at(fd_.get(), name, O_RDWR | O_CREAT | O_EXCL | O_NOCTTY | flags, 0600)
              .context(path_));
  TRY(remove(name, fd.get(), 0));
  return fd;
}

Result<UniqueFd> WorkFolder::fifo(const std::string& name) const {
  TRY(sys::check(::mkfifoat(fd_.get(), name.c_str(), 0600), "make the fifo", full(name)));
  // Both ends at once: opening never waits for a peer.
  UniqueFd fd = TRY(
      sys::open_at(fd_.get(), name, O_RDWR | O_NONBLOCK | O_NOFOLLOW | O_NOCTTY).context(path_));
  const struct stat made = TRY(sys::fstat(fd.get()));
  const bool ours = S_ISFIFO(made.st_mode) && made.st_uid == ::geteuid() && made.st_nlink == 1;
  if (!ours) return replaced(full(name));
  return fd;
}

// By /proc's name for the descriptor, so that no path is followed; nothing is ever replaced.
Result<UniqueFd> WorkFolder::link(int fd, const std::string& name) const {
  TRY(sys::check(
      ::linkat(AT_FDCWD, fd_path(fd).c_str(), fd_.get(), name.c_str(), AT_SYMLINK_FOLLOW),
      "make a link", full(name)));
  UniqueFd named = TRY(sys::open_at(fd_.get(), name, O_PATH | O_NOFOLLOW).context(path_));
  if (!same_thing(TRY(sys::fstat(named.get())), TRY(sys::fstat(fd)))) return replaced(full(name));
  return named;
}

Result<UniqueFd> WorkFolder::directory(const std::string& name, int flags) const {
  TRY(sys::check(::mkdirat(fd_.get(), name.c_str(), 0700), "make the directory", full(name)));
  const UniqueFd made =
      TRY(sys::open_at(fd_.get(), name, O_PATH | O_DIRECTORY | O_NOFOLLOW).context(path_));
  if (TRY(sys::fstat(made.get())).st_uid != ::geteuid()) return replaced(full(name));
  // Again, as the flags of the open file are the image's: what we add would stay in them.
  UniqueFd fd = TRY(sys::open_at(made.get(), ".", flags).context(path_));
  TRY(remove(name, made.get(), AT_REMOVEDIR));
  return fd;
}

Result<UniqueFd> WorkFolder::removed_file(const std::string& name, int flags) const {
  if ((flags & O_TMPFILE) == O_TMPFILE) {
    auto fd = sys::open_at(fd_.get(), ".", O_TMPFILE | O_RDWR, 0600);
    if (fd) return fd;  // else the filesystem has no O_TMPFILE
    flags &= ~O_TMPFILE;
  }
  return under_a_free_name(name, true, [&](const std::string& each) { return file(each, flags); });
}

Result<UniqueFd> WorkFolder::removed_directory(const std::string& name, int flags) const {
  return under_a_free_name(name, true,
                           [&](const std::string& each) { return directory(each, flags); });
}

Result<WorkFolder::Named> WorkFolder::new_fifo(const std::string& name, bool any) const {
  std::string used;
  UniqueFd fd = TRY(under_a_free_name(name, any, [&](const std::string& each) {
    used = each;
    return fifo(each);
  }));
  return Named{std::move(fd), std::move(used)};
}

Result<WorkFolder::Named> WorkFolder::second_name(int fd, const std::string& name, bool any) const {
  std::string used;
  UniqueFd named = TRY(under_a_free_name(name, any, [&](const std::string& each) {
    used = each;
    return link(fd, each);
  }));
  return Named{std::move(named), std::move(used)};
}

Result<UniqueFd> WorkFolder::new_file(const std::string& name, int flags) const {
  return sys::open_at(fd_.get(), name, O_RDWR | O_CREAT | O_EXCL | O_NOCTTY | flags, 0600)
      .context(path_);
}

Result<void> give_permissions(int fd, const model::FileIdentity& saved, const std::string& name,
                              Making making, RestoreContext& context) {
  // A default access control list of the folder would let others in by the group's bits.
  if (making.by_root) (void)::fremovexattr(fd, "system.posix_acl_access");  // most have none
  struct stat now = TRY(sys::fstat(fd));
  const bool known = saved.uid != model::kUnknownId && saved.gid != model::kUnknownId;
  if (known && (now.st_uid != saved.uid || now.st_gid != saved.gid)) {
    // Either may fail for an ordinary user; the group alone may be one of his.
    if (::fchown(fd, saved.uid, saved.gid) != 0) (void)::fchown(fd, ~uid_t{0}, saved.gid);
    now = TRY(sys::fstat(fd));
    if (now.st_uid != saved.uid || now.st_gid != saved.gid) {
      if (making.by_root && making.several_users) {
        return fail(EPERM, fmt::format("{} belonged to {}:{}, which cannot be restored here, and "
                                       "processes of several users hold it",
                                       name, saved.uid, saved.gid));
      }
      note_once(context, fmt::format("{} belonged to {}:{} and belongs to {}:{} now", name,
                                     saved.uid, saved.gid, now.st_uid, now.st_gid));
    }
  }
  u32 mode = saved.mode & 07777;
  const bool same_user =
      known && now.st_uid == saved.uid && now.st_uid == ::geteuid() && !making.by_root;
  u32 allowed = kSetIds;
  if (!same_user || (saved.mode & S_IFMT) == 0) allowed = 0;
  if (now.st_gid != saved.gid) allowed &= ~static_cast<u32>(S_ISGID);
  if ((mode & kSetIds & ~allowed) != 0) {
    mode &= ~kSetIds | allowed;
    note_once(context,
              fmt::format("{} is without its set-id bits: it may not run with the rights of {}:{}",
                          name, now.st_uid, now.st_gid));
  }
  TRY(sys::check(::fchmod(fd, mode), "set the permissions of", name));
  return {};
}

}  // namespace stasis::resource
