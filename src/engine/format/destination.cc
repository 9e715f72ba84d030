// Creation policies of context files. What is written under a temporary name is held by flock, so
// that a second checkpoint to the same name tells a writer at work from what a killed one left.
#include "format/destination.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fs.h>
#include <sys/file.h>

#include <cerrno>
#include <cstdio>
#include <optional>

#include "base/sys.h"

namespace stasis::format {
namespace {

constexpr mode_t kMode = 0400;
constexpr int kMaxBackups = 10000;

std::string directory_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

std::string temporary_name(const std::string& path) {
  const size_t slash = path.rfind('/');
  const size_t base = slash == std::string::npos ? 0 : slash + 1;
  return path.substr(0, base) + "." + path.substr(base) + ".tmp";
}

Result<void> unlink_file(const std::string& path) {
  const auto gone = sys::check(::unlink(path.c_str()), "remove", path);
  if (!gone && gone.error().code != ENOENT) return gone.error();
  return {};
}

Result<void> rename_file(const std::string& from, const std::string& to) {
  (void)TRY(sys::check(::rename(from.c_str(), to.c_str()), "rename " + from + " to", to));
  return {};
}

// What may be at the final name: nothing, a regular file, or (not through a link) a fifo or socket.
Result<std::optional<mode_t>> existing_type(const std::string& path) {
  const auto entry = sys::lstat(path);
  if (!entry) {
    if (entry.error().code == ENOENT) return std::optional<mode_t>();
    return entry.error();
  }
  const bool link = S_ISLNK(entry->st_mode);
  const auto target = link ? sys::stat(path) : entry;
  if (target && S_ISDIR(target->st_mode)) {
    return fail(EISDIR, fmt::format("cannot write {}: it is a directory", path));
  }
  const mode_t type = target ? target->st_mode & S_IFMT : S_IFREG;
  if (type == S_IFCHR || type == S_IFBLK || (link && type != S_IFREG)) {
    return fail(EINVAL, fmt::format("cannot write {}: neither a regular file nor a fifo", path),
                "use -F to write to an open descriptor of any kind");
  }
  return std::optional<mode_t>(link ? S_IFLNK : type);
}

// A new file of ours; whatever had the name is gone.
Result<UniqueFd> create_new(const std::string& path) {
  UniqueFd fd = TRY(sys::open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_NOCTTY, kMode));
  TRY(sys::check(::fchmod(fd.get(), kMode), "set the mode of", path));  // whatever the umask is
  return fd;
}

// fsync, where the file knows it: pipes and sockets answer EINVAL, some file systems for
// directories.
Result<void> sync_file(int fd, const std::string& name) {
  const auto synced = sys::check(::fsync(fd), "sync", name);
  if (synced || synced.error().code == EINVAL || synced.error().code == EROFS) return {};
  return synced.error();
}

// Some file systems (NFS) tell of a full disk only when a descriptor is closed; any duplicate will
// do.
Result<void> flush_by_closing(int fd, const std::string& name) {
  UniqueFd copy = TRY(sys::duplicate(fd));
  TRY(sys::check(::close(copy.release()), "close", name));
  return {};
}

Result<void> sync_directory(const std::string& path) {
  const auto fd = sys::open(directory_of(path), O_RDONLY | O_DIRECTORY);
  if (!fd && fd.error().code == EACCES) return {};  // writable but not readable: cannot be synced
  if (!fd) return fd.error();
  return sync_file(fd->get(), directory_of(path));
}

}  // namespace

Destination::Destination(Destination&& other) noexcept
    : fd_(std::move(other.fd_)),
      path_(std::move(other.path_)),
      working_(std::move(other.working_)),
      options_(std::move(other.options_)),
      committed_(std::exchange(other.committed_, true)) {}

Destination::~Destination() {
  discard();
}

void Destination::discard() {
  if (!committed_ && is_still_ours()) (void)::unlink(working_.c_str());  // nobody left to tell
  disown();
}

void Destination::disown() {
  committed_ = true;
  fd_.reset();
}

Result<Destination> Destination::create(const std::string& path,
                                        const DestinationOptions& options) {
  const auto type = TRY(existing_type(path));
  Destination out;
  out.path_ = path;
  out.working_ = path;
  out.options_ = options;
  if (type && (*type == S_IFIFO || *type == S_IFSOCK)) {
    out.fd_ = TRY(sys::open(path, O_WRONLY | O_NONBLOCK | O_NOFOLLOW | O_NOCTTY));
    return out;
  }
  const bool in_place =
      options.policy == CreationPolicy::kClobber || options.policy == CreationPolicy::kNoClobber;
  if (in_place) {
    TRY(out.open_in_place());
  } else {
    TRY(out.open_temporary());
  }
  out.committed_ = false;
  return out;
}

Destination Destination::adopt(UniqueFd fd) {
  Destination out;
  out.fd_ = std::move(fd);
  return out;
}

Result<void> Destination::open_temporary() {
  working_ = temporary_name(path_);
  const auto left = sys::open(working_, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
  if (left && !sys::check(::flock(left->get(), LOCK_EX | LOCK_NB), "lock", working_)) {
    return fail(EBUSY,
                fmt::format("cannot write {}: another checkpoint is writing {}", path_, working_));
  }
  TRY(unlink_file(working_));
  fd_ = TRY(create_new(working_));
  (void)::flock(fd_.get(), LOCK_EX | LOCK_NB);  // where locks are not known we do without
  return {};
}

Result<void> Destination::open_in_place() {
  if (options_.policy == CreationPolicy::kClobber) {
    auto fd = sys::open(path_, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    if (fd && S_ISREG(TRY(sys::fstat(fd->get())).st_mode)) {
      fd_ = std::move(*fd);
      (void)::fchmod(fd_.get(), kMode);  // somebody else's file that we may write stays theirs
      TRY(sys::check(::ftruncate(fd_.get(), 0), "truncate", path_));
      return {};
    }
    if (!fd && fd.error().code != EACCES && fd.error().code != ENOENT) return fd.error();
    TRY(unlink_file(path_));
  }
  fd_ = TRY(create_new(path_));
  return {};
}

// Whether working_ still names the file behind fd_, so that a file of somebody else is neither
// removed nor given the final name.
bool Destination::is_still_ours() const {
  if (!fd_) return false;
  const auto ours = sys::fstat(fd_.get());
  const auto named = sys::lstat(working_);
  return ours && named && ours->st_dev == named->st_dev && ours->st_ino == named->st_ino;
}

// Gives what has the final name a second one; the final name stays until the new file takes it.
Result<void> Destination::make_backup() {
  if (!sys::lstat(path_)) return {};  // nothing to keep
  if (!options_.backup_name.empty()) return rename_file(path_, options_.backup_name);
  for (int number = 1; number <= kMaxBackups; ++number) {
    const std::string name = fmt::format("{}.~{}~", path_, number);
    auto kept = sys::check(::link(path_.c_str(), name.c_str()), "link", name);
    if (kept) return {};
    if (kept.error().code != EEXIST) {  // no hard links here: move it, never over another
      kept =
          sys::check(::renameat2(AT_FDCWD, path_.c_str(), AT_FDCWD, name.c_str(), RENAME_NOREPLACE),
                     "rename " + path_ + " to", name);
      if (kept) return {};
    }
    if (kept.error().code != EEXIST) return kept.error();
  }
  return fail(EEXIST, fmt::format("no free backup name for {}", path_));
}

Result<void> Destination::commit() {
  if (options_.sync) TRY(sync_file(fd_.get(), working_.empty() ? "the context file" : working_));
  if (!committed_ && !is_still_ours()) {
    return fail(EBUSY, fmt::format("{} was replaced while it was written", working_));
  }
  TRY(flush_by_closing(fd_.get(), working_));
  if (working_ != path_) {
    if (options_.policy == CreationPolicy::kBackup) TRY(make_backup());
    TRY(rename_file(working_, path_));
  }
  committed_ = true;
  fd_.reset();
  return options_.sync && !path_.empty() ? sync_directory(path_) : Result<void>();
}

}  // namespace stasis::format
