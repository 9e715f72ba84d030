// Creation policies of context files. All names are looked up in one opened folder. What could be
// there by somebody else's hand is judged by fstat of what was opened, never by its name.
#include "format/destination.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fs.h>
#include <sys/random.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <optional>

#include "base/sys.h"

namespace stasis::format {
namespace {

constexpr mode_t kMode = 0400;
constexpr int kMaxBackups = 10000;
constexpr int kTries = 100;

std::string directory_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

// A hidden name that nobody can have taken in advance.
std::string unforeseen_name(const std::string& name) {
  u64 number = 0;
  (void)::getrandom(&number, sizeof number, 0);  // 8 bytes: never short once the pool is ready
  constexpr size_t kMostOfName = 200;            // NAME_MAX is 255, and counts the rest as well
  return fmt::format(".{}.{:016x}.tmp", name.substr(0, kMostOfName), number);
}

Result<std::optional<struct stat>> look_up(int folder, const std::string& name,
                                           const std::string& path, int flags) {
  struct stat found = {};
  const auto done = sys::check(::fstatat(folder, name.c_str(), &found, flags), "look up", path);
  if (done) return std::optional(found);
  if (done.error().code == ENOENT) return std::optional<struct stat>();
  return done.error();
}

Error not_ours(const std::string& path, std::string_view what, uid_t owner) {
  return fail(EPERM, fmt::format("cannot write {}: {} of user {} is there", path, what, owner),
              "remove it, or save to another name");
}

// What may be at the final name: nothing, a regular file or a link, a fifo or a socket.
Result<mode_t> existing_type(int folder, const std::string& name, const std::string& path) {
  const auto entry = TRY(look_up(folder, name, path, AT_SYMLINK_NOFOLLOW));
  if (!entry) return mode_t{0};
  const bool link = S_ISLNK(entry->st_mode);
  const auto behind =
      link ? look_up(folder, name, path, 0) : Result<std::optional<struct stat>>(entry);
  const mode_t type = behind && *behind ? (*behind)->st_mode & S_IFMT : S_IFREG;
  if (type == S_IFDIR) return fail(EISDIR, fmt::format("cannot write {}: it is a directory", path));
  if (type == S_IFCHR || type == S_IFBLK || (link && type != S_IFREG)) {
    return fail(EINVAL, fmt::format("cannot write {}: neither a regular file nor a fifo", path),
                "use -F to write to an open descriptor of any kind");
  }
  // In a folder like /tmp only its owner may take it away; better known now than at the end.
  struct stat place = {};
  const bool sticky = ::fstat(folder, &place) == 0 && (place.st_mode & S_ISVTX) != 0;
  const uid_t us = ::geteuid();
  if (sticky && us != 0 && entry->st_uid != us && place.st_uid != us) {
    return not_ours(path, link ? "a link" : "a file", entry->st_uid);
  }
  return link ? mode_t{S_IFLNK} : type;
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

}  // namespace

Destination::Destination(Destination&& other) noexcept
    : fd_(std::move(other.fd_)),
      folder_(std::move(other.folder_)),
      path_(std::move(other.path_)),
      folder_name_(std::move(other.folder_name_)),
      name_(std::move(other.name_)),
      working_(std::move(other.working_)),
      options_(std::move(other.options_)),
      committed_(std::exchange(other.committed_, true)) {}

Destination::~Destination() {
  discard();
}

void Destination::discard() {
  if (!committed_) remove_what_is_ours();
  disown();
}

void Destination::disown() {
  committed_ = true;
  fd_.reset();
}

// Whether working_ still names the file behind fd_: a file of somebody else is not removed.
void Destination::remove_what_is_ours() const {
  if (!fd_ || working_.empty()) return;
  const auto ours = sys::fstat(fd_.get());
  const auto named = look_up(folder_.get(), working_, working_, AT_SYMLINK_NOFOLLOW);
  const bool same = ours && named && *named && ours->st_dev == (*named)->st_dev &&
                    ours->st_ino == (*named)->st_ino;
  if (same) (void)::unlinkat(folder_.get(), working_.c_str(), 0);  // nobody left to tell
}

Result<Destination> Destination::create(const std::string& path,
                                        const DestinationOptions& options) {
  Destination out;
  out.path_ = path;
  out.options_ = options;
  TRY(out.find_folder());
  if (TRY(out.open_pipe())) return out;
  out.committed_ = false;
  const bool in_place =
      options.policy == CreationPolicy::kClobber || options.policy == CreationPolicy::kNoClobber;
  if (in_place) {
    TRY(out.open_in_place());
  } else {
    TRY(out.open_temporary());
  }
  return out;
}

Destination Destination::adopt(UniqueFd fd) {
  Destination out;
  out.fd_ = std::move(fd);
  return out;
}

Result<void> Destination::find_folder() {
  folder_name_ = directory_of(path_);
  name_ = path_.substr(path_.rfind('/') + 1);
  auto folder = sys::open(folder_name_, O_PATH | O_DIRECTORY);
  if (!folder) return sys::error_of(folder.error().code, "open", path_);
  folder_ = std::move(*folder);
  if (!name_.empty()) return {};
  return fail(EISDIR, fmt::format("cannot write {}: it is a directory", path_));
}

// Whether there is a fifo or socket at the name; then it is opened. Whoever owns it could read the
// image, so it must be ours (or root's, who may read everything).
Result<bool> Destination::open_pipe() {
  const mode_t type = TRY(existing_type(folder_.get(), name_, path_));
  if (type != S_IFIFO && type != S_IFSOCK) return false;
  UniqueFd fd =
      TRY(sys::open_at(folder_.get(), name_, O_WRONLY | O_NONBLOCK | O_NOFOLLOW | O_NOCTTY)
              .context(path_));
  const struct stat found = TRY(sys::fstat(fd.get()));
  if (!S_ISFIFO(found.st_mode) && !S_ISSOCK(found.st_mode)) {
    return fail(EBUSY, fmt::format("{} was replaced while it was opened", path_));
  }
  if (found.st_uid != ::geteuid() && found.st_uid != 0) {
    return not_ours(path_, "a fifo", found.st_uid);
  }
  fd_ = std::move(fd);
  return true;
}

// A new file of ours; fails if something has the name.
Result<UniqueFd> Destination::create_new(const std::string& name) const {
  constexpr int kFlags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_NOCTTY;
  auto fd = sys::open_at(folder_.get(), name, kFlags, kMode);
  if (!fd) return sys::error_of(fd.error().code, "open", path_);
  TRY(sys::check(::fchmod(fd->get(), kMode), "set the mode of", path_));  // whatever the umask is
  return fd;
}

// Without a name there is nothing to take from us and nothing left when we are killed. Some file
// systems cannot do that.
Result<void> Destination::open_temporary() {
  auto fd = sys::open_at(folder_.get(), ".", O_TMPFILE | O_WRONLY, kMode);
  if (fd) {
    TRY(sys::check(::fchmod(fd->get(), kMode), "set the mode of", path_));
    fd_ = std::move(*fd);
    return {};
  }
  Result<UniqueFd> made = fail(EEXIST, fmt::format("no temporary name is free for {}", path_));
  for (int i = 0; !made && made.error().code == EEXIST && i < kTries; ++i) {
    working_ = unforeseen_name(name_);
    made = create_new(working_);
  }
  fd_ = TRY(std::move(made));
  return {};
}

// Only a file of ours that has no other name is written as it is; any other is replaced.
Result<void> Destination::open_in_place() {
  working_ = name_;
  if (options_.policy == CreationPolicy::kClobber) {
    auto fd = sys::open_at(folder_.get(), name_, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    if (fd) {
      const struct stat found = TRY(sys::fstat(fd->get()));
      if (S_ISREG(found.st_mode) && found.st_uid == ::geteuid() && found.st_nlink == 1) {
        TRY(sys::check(::fchmod(fd->get(), kMode), "set the mode of", path_));
        TRY(sys::check(::ftruncate(fd->get(), 0), "truncate", path_));
        fd_ = std::move(*fd);
        return {};
      }
    } else if (fd.error().code != EACCES && fd.error().code != ENOENT) {
      return sys::error_of(fd.error().code, "open", path_);
    }
    const auto gone = sys::check(::unlinkat(folder_.get(), name_.c_str(), 0), "replace", path_);
    if (!gone && gone.error().code != ENOENT) return gone.error();
  }
  fd_ = TRY(create_new(name_));
  return {};
}

// Gives what has the final name a second one; the final name stays until the new file takes it.
Result<void> Destination::make_backup() {
  const int folder = folder_.get();
  if (!TRY(look_up(folder, name_, path_, AT_SYMLINK_NOFOLLOW))) return {};  // nothing to keep
  if (!options_.backup_name.empty()) {
    TRY(sys::check(::renameat(folder, name_.c_str(), AT_FDCWD, options_.backup_name.c_str()),
                   "rename " + path_ + " to", options_.backup_name));
    return {};
  }
  for (int number = 1; number <= kMaxBackups; ++number) {
    const std::string name = fmt::format("{}.~{}~", name_, number);
    auto kept = sys::check(::linkat(folder, name_.c_str(), folder, name.c_str(), 0), "link", name);
    if (kept) return {};
    if (kept.error().code != EEXIST) {  // no hard links here: move it, never over another
      kept = sys::check(::renameat2(folder, name_.c_str(), folder, name.c_str(), RENAME_NOREPLACE),
                        "rename " + path_ + " to", name);
      if (kept) return {};
    }
    if (kept.error().code != EEXIST) return kept.error();
  }
  return fail(EEXIST, fmt::format("no free backup name for {}", path_));
}

// A file without a name gets one that cannot be guessed, for the moment until the rename.
Result<void> Destination::give_name() {
  const std::string source = fmt::format("/proc/self/fd/{}", fd_.get());
  for (int i = 0; working_.empty(); ++i) {
    const std::string name = unforeseen_name(name_);
    const auto linked = sys::check(
        ::linkat(AT_FDCWD, source.c_str(), folder_.get(), name.c_str(), AT_SYMLINK_FOLLOW), "name",
        path_);
    if (linked) {
      working_ = name;
    } else if (linked.error().code != EEXIST || i >= kTries) {
      return linked.error();
    }
  }
  return {};
}

Result<void> Destination::commit() {
  if (options_.sync) TRY(sync_file(fd_.get(), path_.empty() ? "the context file" : path_));
  TRY(flush_by_closing(fd_.get(), path_));
  if (committed_) {  // a descriptor, a fifo
    fd_.reset();
    return {};
  }
  TRY(give_name());
  const struct stat ours = TRY(sys::fstat(fd_.get()));
  const auto named = TRY(look_up(folder_.get(), working_, path_, AT_SYMLINK_NOFOLLOW));
  if (!named || named->st_dev != ours.st_dev || named->st_ino != ours.st_ino) {
    return fail(EBUSY, fmt::format("{} was replaced while it was written", path_));
  }
  if (working_ != name_) {
    if (options_.policy == CreationPolicy::kBackup) TRY(make_backup());
    TRY(sys::check(::renameat(folder_.get(), working_.c_str(), folder_.get(), name_.c_str()),
                   "give the image its name", path_));
  }
  committed_ = true;
  fd_.reset();
  if (!options_.sync) return {};
  const auto folder = sys::open_at(folder_.get(), ".", O_RDONLY | O_DIRECTORY);
  if (!folder && folder.error().code == EACCES) return {};  // writable but not readable
  if (!folder) return folder.error();
  return sync_file(folder->get(), folder_name_);
}

}  // namespace stasis::format
