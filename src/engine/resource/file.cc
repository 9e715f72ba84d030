// Regular files. One that still has a name is opened again by it; what is in it belongs to the
// person, not to the image. One without a name (unlinked, O_TMPFILE) is carried whole. Also
// anything opened with O_PATH that is not a directory: only its name matters.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include <cerrno>

#include "base/open.h"
#include "base/saturated.h"
#include "base/sys.h"
#include "resource/content.h"
#include "resource/file_check.h"
#include "resource/hard_link.h"
#include "resource/kinds.h"
#include "resource/locate.h"
#include "resource/path.h"
#include "resource/proc_files.h"
#include "resource/uses.h"

#ifndef MQUEUE_MAGIC
#define MQUEUE_MAGIC 0x19800202
#endif
#ifndef SECRETMEM_MAGIC
#define SECRETMEM_MAGIC 0x5345434d
#endif

namespace stasis::resource {
namespace {

using model::RegularFile;

constexpr u32 kTmpFileBit = O_TMPFILE & ~O_DIRECTORY;

bool path_only(const FdFacts& facts) {
  return (facts.info.flags & O_PATH) != 0;
}

u64 filesystem_type(const FdFacts& facts) {
  struct statfs about = {};
  const std::string path = fmt::format("/proc/{}/fd/{}", facts.pid, facts.number);
  if (::statfs(path.c_str(), &about) != 0) return 0;
  return static_cast<u64>(about.f_type);
}

bool recognises(const FdFacts& facts) {
  if (!facts.link.starts_with('/') || S_ISDIR(facts.status.st_mode)) return false;
  if (path_only(facts)) return true;
  if (!S_ISREG(facts.status.st_mode)) return false;
  const u64 type = filesystem_type(facts);
  return type != MQUEUE_MAGIC && type != SECRETMEM_MAGIC;
}

std::optional<Refusal> obstacle(const FdFacts& facts, CaptureContext&) {
  if (is_about_a_process(facts.link)) {
    return Refusal{facts.describe(),
                   "files of /proc about a process cannot be opened again before "
                   "that process exists",
                   "try again if it is open for a moment only; else only the program can close it"};
  }
  const Located located = locate(facts);
  if (!located.deleted && !is_same_file(located.path, facts.status)) {
    return Refusal{facts.describe(),
                   "its path leads to another file here, or to none: it was opened "
                   "in another mount namespace, or something is mounted over it",
                   ""};
  }
  if (located.elsewhere && may_write(facts.info.flags)) {
    return Refusal{facts.describe(),
                   "the file was removed under this name but has another one that "
                   "cannot be found",
                   give_back_name(facts)};
  }
  if (located.deleted && facts.duplicate) {
    const auto readable = open_for_capture(facts);
    if (!readable) return Refusal{facts.describe(), readable.error().message(), ""};
  }
  return std::nullopt;
}

std::string identity(const FdFacts& facts) {
  const Located located = locate(facts);
  const std::string number = fmt::format("file:{}:{}", facts.status.st_dev, facts.status.st_ino);
  return located.deleted ? number : number + ":" + located.path;
}

Result<model::Resource> capture(const FdFacts& facts, CaptureContext& context) {
  const Located located = locate(facts);
  RegularFile file;
  file.path = located.path;
  file.identity = identity_of(facts.status);
  file.deleted = located.deleted;
  if (!located.deleted) return model::Resource(file);
  file.linkable = (facts.info.flags & kTmpFileBit) != 0;
  UniqueFd content = TRY(open_for_capture(facts));
  file.content = TRY(context.add_content(std::move(content), file.identity.size, facts.link));
  return model::Resource(file);
}

std::vector<Refusal> restore_obstacles(const model::Resource& resource,
                                       const RestoreContext& context) {
  const auto& file = std::get<RegularFile>(resource);
  // What is carried for the case that the file is gone does not count while it is there.
  const bool in_place = file.fallback && sys::lstat(context.relocate(file.path)).ok();
  if (file.content && !in_place) return {};
  const FileUse use = use_of(context.image, index_of(context.image, resource));
  return check_file(file, context.relocate(file.path), use, context.options);
}

// The open file that a carried file is handed out as it was made, because a second open would lose
// a mark that only making leaves in its flags: the first O_RDWR one that bears such a mark.
std::optional<model::OpenFileIndex> keeps_marks(const model::Image& image,
                                                model::ResourceIndex resource) {
  constexpr u32 kOnlyByOpen = O_SYNC | O_DSYNC;
  for (model::OpenFileIndex i = 0; i < image.open_files.size(); ++i) {
    const u32 flags = image.open_files[i].flags;
    if (image.open_files[i].resource == resource && access_mode(flags) == O_RDWR &&
        (flags & (kTmpFileBit | O_NOFOLLOW)) != 0 && (flags & kOnlyByOpen) == 0) {
      return i;
    }
  }
  return std::nullopt;
}

CarriedFile carried(model::ResourceIndex resource, const RestoreContext& context) {
  const auto& file = std::get<RegularFile>(context.image.resources[resource]);
  const auto first = keeps_marks(context.image, resource);
  const u32 marks = first ? context.image.open_files[*first].flags & O_NOFOLLOW : 0;
  return {.path = context.relocate(file.path),
          .identity = file.identity,
          .anonymous = file.linkable,
          .named = file.fallback,
          .flags = static_cast<int>(marks),
          .content = *file.content,
          .making = context.rights.making_of(resource)};
}

// One that was another name of a file that is there, or was made before. Where that cannot be, what
// is carried of it is made as a file of its own.
Result<UniqueFd> link_to_first_name(model::ResourceIndex resource, RestoreContext& context) {
  const auto first = first_name_of(resource, context);
  if (!first) return fail(ENOENT, "it has no other name");
  const auto& file = std::get<RegularFile>(context.image.resources[*first]);
  if (file.content) {
    return link_to(TRY(carried_descriptor(*first, context)), *first, resource, context);
  }
  const UniqueFd there =
      TRY(sys::open_of_type(context.relocate(file.path), O_PATH | O_NOFOLLOW, S_IFREG));
  UniqueFd linked = TRY(link_to(there.get(), *first, resource, context));
  context.made[{resource, "in place"}] = TRY(sys::duplicate(linked.get()));
  return linked;
}

Result<UniqueFd> open_carried(model::OpenFileIndex index, RestoreContext& context) {
  const model::OpenFile& open_file = context.image.open_files[index];
  const int made = TRY(carried_descriptor(open_file.resource, context));
  if (keeps_marks(context.image, open_file.resource) == index) return sys::duplicate(made);
  return sys::open(fd_path(made), reopen_flags(open_file.flags & ~u32{O_NOFOLLOW}));
}

Result<UniqueFd> create(model::OpenFileIndex index, RestoreContext& context) {
  const model::OpenFile& open_file = context.image.open_files[index];
  const auto& file = std::get<RegularFile>(context.image.resources[open_file.resource]);
  if (file.content) return open_carried(index, context);
  const int flags = reopen_flags(open_file.flags);
  const std::string path = context.relocate(file.path);
  // What is only named (O_PATH) may be anything: naming it does nothing.
  auto fd =
      (flags & O_PATH) != 0 ? sys::open(path, flags) : sys::open_of_type(path, flags, S_IFREG);
  return std::move(fd).context(subject_of(context.image, index, file.path));
}

}  // namespace

Result<int> carried_descriptor(model::ResourceIndex resource, RestoreContext& context) {
  const auto key = std::pair(resource, std::string("content"));
  const auto found = context.made.find(key);
  if (found != context.made.end()) return found->second.get();
  auto linked = link_to_first_name(resource, context);
  UniqueFd made = linked ? std::move(linked).take_value()
                         : TRY(make_carried_file(carried(resource, context), context));
  return (context.made[key] = std::move(made)).get();
}

Result<void> finish_regular_file(model::ResourceIndex resource, RestoreContext& context) {
  const auto found = context.made.find({resource, "content"});
  const bool is_file = std::holds_alternative<RegularFile>(context.image.resources[resource]);
  if (!is_file || found == context.made.end()) return {};
  if (context.made.contains({resource, "in place"})) return {};  // it is as it is
  return finish_carried_file(found->second.get(), carried(resource, context), context);
}

model::FileIdentity identity_of(const struct stat& status) {
  model::FileIdentity identity;
  identity.device = status.st_dev;
  identity.inode = status.st_ino;
  identity.size = S_ISREG(status.st_mode) ? static_cast<u64>(status.st_size) : 0;
  identity.mtime_ns = saturated_ns(status.st_mtim.tv_sec, status.st_mtim.tv_nsec);
  identity.mode = status.st_mode;
  identity.uid = status.st_uid;
  identity.gid = status.st_gid;
  return identity;
}

Result<model::RegularFile> describe_mapped_file(const std::string& path, u64 inode) {
  const struct stat status = TRY(sys::stat(path));
  if (!S_ISREG(status.st_mode)) {
    return fail(ESTALE, fmt::format("{} is {} now", path, type_name(status.st_mode)));
  }
  // Only the inode is compared: on overlay and btrfs the device of maps is not that of stat.
  if (status.st_ino != inode) {
    return fail(ESTALE, fmt::format("{} is another file than the one that is mapped", path));
  }
  RegularFile file;
  file.path = path;
  file.identity = identity_of(status);
  const auto fd = sys::open_of_type(path, O_RDONLY | O_NOCTTY, S_IFREG);
  if (fd) file.identity.build_id = read_build_id(fd->get());
  return file;
}

const Handler kRegularFileHandler = {.kind = RegularFile::kKind,
                                     .recognises = recognises,
                                     .obstacle = obstacle,
                                     .identity = identity,
                                     .capture = capture,
                                     .restore_obstacles = restore_obstacles,
                                     .create = create,
                                     .settle = nullptr};

}  // namespace stasis::resource
