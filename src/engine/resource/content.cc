// Making files that the image carries. A file without a name is first made under its old name where
// that is free (so /proc shows the same "(deleted)" link), else under a temporary one beside it,
// and unlinked before anybody else could care. Falls back to TMPDIR, /tmp and memory.
#include "resource/content.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "base/sys.h"
#include "resource/path.h"

namespace stasis::resource {
namespace {

constexpr u64 kBlock = 1 << 20;  // bytes read from the image at once

std::vector<std::string> directories(const std::string& path) {
  std::vector<std::string> all = {directory_of(path)};
  if (const char* temporary = std::getenv("TMPDIR"); temporary != nullptr) {
    all.emplace_back(temporary);
  }
  all.emplace_back("/tmp");
  std::erase(all, "");
  return all;
}

bool usable(const std::string& directory) {
  const auto status = sys::stat(directory);
  return status.ok() && S_ISDIR(status->st_mode) &&
         ::faccessat(AT_FDCWD, directory.c_str(), W_OK | X_OK, AT_EACCESS) == 0;
}

// Directories that are missing above `path`, for our user only, as mkdtemp(3) makes them.
void make_directories(const std::string& path) {
  const std::string directory = directory_of(path);
  if (directory.size() <= 1 || sys::lstat(directory)) return;
  make_directories(directory);
  (void)::mkdir(directory.c_str(), 0700);  // if not, making the file says why
}

// A new file under its name; nobody's file is ever taken for it.
Result<UniqueFd> open_named(const CarriedFile& file) {
  if (file.making.by_root) {
    const WorkFolder folder = TRY(WorkFolder::open_roots(directory_of(file.path)));
    return folder.new_file(base_name(file.path), O_NOFOLLOW | file.flags);
  }
  make_directories(file.path);
  return sys::open(file.path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | file.flags, 0600);
}

Result<UniqueFd> make_named(const CarriedFile& file, RestoreContext& context) {
  UniqueFd fd = TRY(open_named(file));
  context.new_names.push_back({file.path, file.making.by_root});
  context.notes.push_back(
      fmt::format("{} was gone and was made again from the context file", file.path));
  return fd;
}

// What root makes for others is written only where they cannot lead it: into their own file system
// (FUSE) it would tell them what it holds.
Result<WorkFolder> open_folder(const std::string& directory, bool by_root) {
  if (by_root) return WorkFolder::open_roots(directory);
  if (!usable(directory)) return fail(EACCES, directory + ": nothing may be made there");
  return WorkFolder::open(directory);
}

Result<UniqueFd> make_in(const std::string& directory, const CarriedFile& file) {
  const WorkFolder folder = TRY(open_folder(directory, file.making.by_root));
  return folder.removed_file(base_name(file.path), file.flags | (file.anonymous ? O_TMPFILE : 0));
}

}  // namespace

Result<std::string> carried_file_directory(const std::string& path) {
  for (const std::string& directory : directories(path)) {
    if (usable(directory)) return directory;
  }
  return fail(ENOENT, fmt::format("there is no directory to make {} again in", path),
              "set TMPDIR to a directory with room");
}

Result<WorkFolder> carried_file_folder(const std::string& path, bool by_root) {
  if (!by_root) return WorkFolder::open(TRY(carried_file_directory(path)));
  for (const std::string& directory : directories(path)) {
    auto folder = open_folder(directory, true);
    if (folder) return folder;
  }
  return fail(ENOENT, fmt::format("there is no directory of root's to make {} again in", path),
              "set TMPDIR to one");
}

Result<UniqueFd> make_carried_file(const CarriedFile& file, RestoreContext& context) {
  Result<UniqueFd> fd = fail(ENOENT, "no directory");
  if (file.named) fd = make_named(file, context);
  for (const std::string& directory : directories(file.path)) {
    if (fd) break;
    fd = make_in(directory, file);
    if (!fd) continue;
    if (directory != directory_of(file.path)) {
      context.notes.push_back(fmt::format("{} was made again in {}", file.path, directory));
    }
    break;
  }
  if (!fd) {
    const std::string name = base_name(file.path);
    fd = UniqueFd(
        TRY(sys::check(::memfd_create(name.c_str(), MFD_CLOEXEC), "make in memory", file.path)));
    context.notes.push_back(fmt::format("{} was made again in memory", file.path));
  }
  TRY(write_content(fd->get(), file.content, context).context("cannot fill " + file.path));
  return fd;
}

Result<void> finish_carried_file(int fd, const CarriedFile& file, RestoreContext& context) {
  TRY(give_permissions(fd, file.identity, file.path, file.making, context));
  const i64 changed_ns = file.identity.mtime_ns;
  const struct timespec modified = {changed_ns / 1'000'000'000, changed_ns % 1'000'000'000};
  const struct timespec times[2] = {{0, UTIME_OMIT}, modified};
  TRY(sys::check(::futimens(fd, times), "set the time of", file.path));
  return {};
}

Result<void> write_content(int fd, model::SpaceIndex space, RestoreContext& context) {
  if (space >= context.image.spaces.size()) return fail(EINVAL, "the image lacks a file's content");
  const model::Space& content = context.image.spaces[space];
  TRY(sys::check(::ftruncate(fd, static_cast<off_t>(content.size)), "set the size of",
                 content.label));
  Bytes block;
  for (const model::Run& run : content.runs) {
    if (run.kind != model::RunKind::kData) continue;  // a new file reads as zeros
    for (u64 done = 0; done < run.length; done += block.size()) {
      const model::Run part{run.offset + done, std::min(kBlock, run.length - done),
                            model::RunKind::kData};
      block.resize(part.length);
      TRY(context.pages.read(space, std::span(&part, 1), block));
      const u64 inside = part.offset >= content.size ? 0 : content.size - part.offset;
      const auto useful = ByteView(block).first(std::min<u64>(inside, part.length));
      TRY(sys::pwrite_all(fd, useful, part.offset));
    }
  }
  return {};
}

Result<UniqueFd> open_for_capture(const FdFacts& facts) {
  auto again = sys::open(fd_path(facts.duplicate.get()), O_RDONLY);
  if (again) return again;
  const bool readable = (facts.info.flags & (O_PATH | O_ACCMODE)) != O_WRONLY;
  if (!readable || (facts.info.flags & (O_DIRECT | O_PATH)) != 0) {
    return std::move(again).context("cannot read " + facts.describe());
  }
  return sys::duplicate(facts.duplicate.get());
}

}  // namespace stasis::resource
