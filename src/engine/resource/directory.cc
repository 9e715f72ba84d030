// Directories: opened again by path; the position is the kernel's own cookie, set by lseek. A
// removed directory is made under its name, opened and removed again.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <cerrno>

#include "base/open.h"
#include "base/sys.h"
#include "resource/content.h"
#include "resource/file_check.h"
#include "resource/kinds.h"
#include "resource/path.h"
#include "resource/proc_files.h"
#include "resource/reopen.h"
#include "resource/uses.h"
#include "resource/work_folder.h"

namespace stasis::resource {
namespace {

using model::Directory;

// The flags that create opens one with that is in its place.
int directory_flags(u32 saved) {
  return static_cast<int>(saved & (O_NONBLOCK | O_NOATIME | O_PATH | O_NOFOLLOW | O_DIRECTORY));
}

bool recognises(const FdFacts& facts) {
  return S_ISDIR(facts.status.st_mode) && facts.link.starts_with('/');
}

bool is_removed(const FdFacts& facts) {
  // A removed directory has st_nlink 0 on most filesystems, 1 or 2 on others: its path tells.
  if (!split_link(facts.link).deleted) return false;
  const auto found = sys::lstat(facts.link);
  return !found || found->st_ino != facts.status.st_ino || found->st_dev != facts.status.st_dev;
}

std::optional<Refusal> obstacle(const FdFacts& facts, CaptureContext&) {
  if (is_about_a_process(facts.link)) {
    return Refusal{facts.describe(),
                   "directories of /proc about a process cannot be opened again before "
                   "that process exists",
                   "try again if it is open for a moment only; else only the program can close it"};
  }
  if (is_removed(facts)) return std::nullopt;
  const auto found = sys::lstat(facts.link);
  if (found && found->st_ino == facts.status.st_ino && found->st_dev == facts.status.st_dev) {
    return std::nullopt;
  }
  return Refusal{facts.describe(),
                 "its path leads to another directory here, or to none: it was "
                 "opened in another mount namespace, or something is mounted over it",
                 ""};
}

std::string identity(const FdFacts& facts) {
  return fmt::format("directory:{}:{}:{}", facts.status.st_dev, facts.status.st_ino, facts.link);
}

Result<model::Resource> capture(const FdFacts& facts, CaptureContext&) {
  const bool removed = is_removed(facts);
  return model::Resource(Directory{removed ? split_link(facts.link).path : facts.link,
                                   identity_of(facts.status), removed});
}

std::vector<Refusal> restore_obstacles(const model::Resource& resource,
                                       const RestoreContext& context) {
  const auto& directory = std::get<Directory>(resource);
  const std::string path = context.relocate(directory.path);
  const std::string subject = subject_of(context.image, resource, directory.path);
  if (directory.deleted) {
    const auto place = carried_file_directory(path);
    if (place) return {};
    return {{subject, place.error().message(), place.error().hint, place.error().code}};
  }
  const auto status = sys::stat(path);
  if (!status) {
    return {{subject, status.error().message(),
             "make the directory again, or use --relocate if it is somewhere else now",
             status.error().code}};
  }
  if (!S_ISDIR(status->st_mode)) {
    return {{subject,
             fmt::format("{} was a directory and is {} now", path, type_name(status->st_mode)),
             "make the directory again", ENOTDIR}};
  }
  for (const u32 flags : flags_of(context.image, resource)) {
    const auto obstacle = reopen_obstacle(path, directory_flags(flags), S_IFDIR);
    if (!obstacle) continue;
    return {
        {subject, obstacle->message(), "check the permissions of the directory", obstacle->code}};
  }
  return {};
}

// Made once, whoever opens it how often. Its permissions may forbid what was opened before they
// were set, so that they are given anew after each opening.
Result<UniqueFd> open_removed(model::ResourceIndex resource, int flags, RestoreContext& context) {
  const auto& directory = std::get<Directory>(context.image.resources[resource]);
  const std::string path = context.relocate(directory.path);
  const auto key = std::pair(resource, std::string("removed"));
  if (!context.made.contains(key)) {
    const WorkFolder folder = TRY(WorkFolder::open(TRY(carried_file_directory(path))));
    context.made[key] = TRY(folder.removed_directory(base_name(path), O_RDONLY | O_DIRECTORY));
  }
  const int made = context.made[key].get();
  TRY(sys::check(::fchmod(made, 0700), "set the permissions of", path));
  UniqueFd fd = TRY(sys::open_at(made, ".", flags));
  TRY(give_permissions(made, directory.identity, directory.path, {}, context));
  return fd;
}

Result<UniqueFd> create(model::OpenFileIndex index, RestoreContext& context) {
  const model::OpenFile& open_file = context.image.open_files[index];
  const auto& directory = std::get<Directory>(context.image.resources[open_file.resource]);
  const std::string path = context.relocate(directory.path);
  const int flags = directory_flags(open_file.flags);
  auto fd = directory.deleted ? open_removed(open_file.resource, flags, context)
                              : sys::open_of_type(path, flags, S_IFDIR);
  return std::move(fd).context(subject_of(context.image, index, directory.path));
}

}  // namespace

const Handler kDirectoryHandler = {.kind = Directory::kKind,
                                   .recognises = recognises,
                                   .obstacle = obstacle,
                                   .identity = identity,
                                   .capture = capture,
                                   .restore_obstacles = restore_obstacles,
                                   .create = create,
                                   .settle = nullptr};

}  // namespace stasis::resource
