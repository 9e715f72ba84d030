// The rules by which a file on disk is accepted for the one that was saved:
// - programs and libraries mapped privately must be the same, as their unchanged pages come from
//   them: same device, inode, size and mtime; else the same build-id; else the same size and mtime
//   (a copy on another machine).
// - a file the image only reads must have kept size and mtime.
// - a file the image writes, or shares by mapping, changes legitimately (its own output after the
//   checkpoint): it must not be shorter than it was. It is cut back to its size later.
#include "resource/file_check.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>

#include "base/open.h"
#include "base/sys.h"
#include "resource/reopen.h"

#ifndef CGROUP2_SUPER_MAGIC
#define CGROUP2_SUPER_MAGIC 0x63677270
#endif

namespace stasis::resource {
namespace {

// What helps where a file cannot be opened.
std::string hint_for(int code) {
  if (code == EMFILE || code == ENFILE) return "raise the limit of open files: ulimit -n";
  if (code == EACCES || code == EPERM) return "check the permissions of the file";
  return {};
}

std::string time_text(i64 ns) {
  const time_t seconds = ns / 1'000'000'000;
  struct tm parts = {};
  ::localtime_r(&seconds, &parts);
  return fmt::format("{:04}-{:02}-{:02} {:02}:{:02}:{:02}", parts.tm_year + 1900, parts.tm_mon + 1,
                     parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec);
}

bool same_content(const model::FileIdentity& saved, const model::FileIdentity& now, int fd) {
  const bool same_size_and_time = saved.size == now.size && saved.mtime_ns == now.mtime_ns;
  const bool same_file = saved.device == now.device && saved.inode == now.inode;
  if (same_size_and_time && same_file) return true;
  if (!saved.build_id.empty()) return read_build_id(fd) == saved.build_id;
  return same_size_and_time;
}

std::string difference(const model::FileIdentity& saved, const model::FileIdentity& now) {
  if (saved.size != now.size) {
    return fmt::format("it had {} bytes and has {} now", saved.size, now.size);
  }
  if (saved.mtime_ns != now.mtime_ns) {
    return fmt::format("it was last changed {} and now {}", time_text(saved.mtime_ns),
                       time_text(now.mtime_ns));
  }
  return "it is another file now";
}

// Flags that open(2) takes again; creation flags did their work long ago.
constexpr u32 kReopenFlags =
    O_ACCMODE | O_APPEND | O_NONBLOCK | O_SYNC | O_DSYNC | O_DIRECT | O_NOATIME | O_PATH;

constexpr const char* kAllow = "put the file back as it was, or use --allow-changed-files";

std::optional<Refusal> check_content(const model::RegularFile& file, const FileUse& use,
                                     const model::FileIdentity& now, int fd) {
  const bool only_read = use.read_only && !use.written && !use.mapped_shared;
  if (use.mapped_private || only_read) {
    if (same_content(file.identity, now, fd)) return std::nullopt;
    return Refusal{use.subject, fmt::format("the file changed: {}", difference(file.identity, now)),
                   kAllow};
  }
  // A log that was emptied meanwhile: what is appended lands at its end, wherever that is.
  const bool only_appended =
      !use.mapped_shared && !use.read_only && std::ranges::all_of(use.flags, [](u32 flags) {
        return (flags & O_APPEND) != 0 && (flags & O_ACCMODE) != O_RDONLY;
      });
  if (now.size >= file.identity.size || only_appended) return std::nullopt;
  return Refusal{use.subject,
                 fmt::format("the file is shorter than it was ({} bytes, {} when saved)", now.size,
                             file.identity.size),
                 kAllow};
}

// Of opening it as the image has it open and maps it.
std::vector<Refusal> open_obstacles(const std::string& path, const FileUse& use) {
  std::set<int> wanted;
  for (const u32 flags : use.flags) wanted.insert(reopen_flags(flags));
  if (use.mapped_writable) wanted.insert(O_RDWR);
  if (use.mapped_private || (use.mapped_shared && !use.mapped_writable)) wanted.insert(O_RDONLY);
  for (const int flags : wanted) {
    const auto obstacle = reopen_obstacle(path, flags, S_IFREG);
    if (!obstacle) continue;
    return {{use.subject, obstacle->message(), hint_for(obstacle->code), obstacle->code}};
  }
  return {};
}

}  // namespace

int reopen_flags(u32 saved) {
  return static_cast<int>(saved & (kReopenFlags | O_NOFOLLOW)) | O_NOCTTY;
}

bool is_pseudo_filesystem(int fd) {
  struct statfs about = {};
  if (::fstatfs(fd, &about) != 0) return false;
  switch (static_cast<u64>(about.f_type)) {
    case PROC_SUPER_MAGIC:
    case SYSFS_MAGIC:
    case CGROUP_SUPER_MAGIC:
    case CGROUP2_SUPER_MAGIC:
    case DEBUGFS_MAGIC:
    case TRACEFS_MAGIC:
    case SECURITYFS_MAGIC:
      return true;
    default:
      return false;
  }
}

std::string_view type_name(u32 mode) {
  switch (mode & S_IFMT) {
    case S_IFREG:
      return "a regular file";
    case S_IFDIR:
      return "a directory";
    case S_IFLNK:
      return "a symbolic link";
    case S_IFCHR:
      return "a character device";
    case S_IFBLK:
      return "a block device";
    case S_IFIFO:
      return "a fifo";
    case S_IFSOCK:
      return "a socket";
    default:
      return "an object without a file type";
  }
}

std::vector<Refusal> check_file(const model::RegularFile& file, const std::string& path,
                                const FileUse& use, const RestoreOptions& options) {
  const auto status = sys::lstat(path);
  const bool is_link = status.ok() && S_ISLNK(status->st_mode) && !S_ISLNK(file.identity.mode);
  const auto target = is_link ? sys::stat(path) : status;
  if (!target) {
    return {{use.subject, target.error().message(),
             "put the file back, or use --relocate if it is somewhere else now",
             target.error().code}};
  }
  const model::FileIdentity now = identity_of(*target);
  if ((now.mode & S_IFMT) != (file.identity.mode & S_IFMT)) {
    return {{use.subject,
             fmt::format("{} was {} and is {} now", path, type_name(file.identity.mode),
                         type_name(now.mode)),
             "put the file back", S_ISDIR(now.mode) ? EISDIR : 0}};
  }
  if (!S_ISREG(now.mode) ||
      !(use.read_only || use.written || use.mapped_private || use.mapped_shared)) {
    return {};  // only named (O_PATH, the program of a process): existing is enough
  }
  const auto obstacles = open_obstacles(path, use);
  // Nothing of it is compared, so it is not opened.
  if (!obstacles.empty() || options.ignore_changed_files) return obstacles;
  const int mode =
      use.written ? (use.read_only || use.mapped_private ? O_RDWR : O_WRONLY) : O_RDONLY;
  const auto fd = sys::open_of_type(path, mode | O_NONBLOCK | O_NOCTTY, S_IFREG);
  if (!fd) return {{use.subject, fd.error().message(), hint_for(fd.error().code), fd.error().code}};
  if (is_pseudo_filesystem(fd->get())) return {};
  const auto problem = check_content(file, use, now, fd->get());
  return problem ? std::vector<Refusal>{*problem} : std::vector<Refusal>{};
}

}  // namespace stasis::resource
