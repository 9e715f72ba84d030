// Making all open files of an image in this process, in passes: check everything; create; set
// offsets, flags and locks; cut files back; finish what the image carries. Then the targets
// inherit.
#include "resource/restore.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

#include "base/open.h"
#include "base/sys.h"
#include "resource/cut_back.h"
#include "resource/file_check.h"
#include "resource/follow.h"
#include "resource/kinds.h"
#include "resource/locks.h"
#include "resource/path.h"
#include "resource/uses.h"

namespace stasis::resource {
namespace {

// What F_SETFL can change (fcntl(2)); O_ASYNC comes in settle, with the owner.
constexpr int kSettable = O_APPEND | O_NONBLOCK | O_DIRECT | O_NOATIME;

bool has_offset(const model::Resource& resource) {
  return std::holds_alternative<model::RegularFile>(resource) ||
         std::holds_alternative<model::Directory>(resource) ||
         std::holds_alternative<model::Memfd>(resource);
}

Result<void> set_state(int fd, model::OpenFileIndex index, const RestoreContext& context) {
  const model::OpenFile& file = context.image.open_files[index];
  const model::Resource& resource = context.image.resources[file.resource];
  if ((file.flags & O_PATH) != 0 || follows_requester(resource)) return {};
  const std::string subject = subject_of(context.image, index, "");
  const int now = TRY(sys::check(::fcntl(fd, F_GETFL), "look at", subject));
  const int wanted = static_cast<int>(file.flags) & kSettable;
  if ((now & kSettable) != wanted) {
    TRY(sys::check(::fcntl(fd, F_SETFL, (now & ~kSettable) | wanted), "set the flags of", subject));
  }
  if (has_offset(resource) && file.offset != 0) {
    TRY(sys::check(::lseek(fd, static_cast<off_t>(file.offset), SEEK_SET), "set the position of",
                   subject));
  }
  return take_open_file_locks(fd, index, context);
}

// ------------------------------------------------------------------ with whose rights

// The other holders, who must all be able to open it themselves.
std::span<const Identity> others(model::ResourceIndex resource, const RestoreContext& context) {
  const auto& holders = context.rights.resources;
  if (resource >= holders.size() || holders[resource].empty()) return {};
  return std::span(holders[resource]).subspan(1);
}

bool has_path_only(const model::Resource& resource) {
  const auto* file = std::get_if<model::RegularFile>(&resource);
  const auto* directory = std::get_if<model::Directory>(&resource);
  return (file != nullptr && !file->content) || (directory != nullptr && !directory->deleted);
}

// What `open` opens as the first holder (or makes as who makes it), provided that it opens the same
// as each of the others: a path that was changed meanwhile must not give one of them what only
// another one had.
template <class Open>
Result<UniqueFd> open_as_holders(model::ResourceIndex resource, RestoreContext& context,
                                 Open open) {
  const auto once = [&]() -> Result<UniqueFd> {
    const Acting acting = TRY(context.rights.act_to_make(resource));
    return open();
  };
  UniqueFd first = TRY(once());
  if (!has_path_only(context.image.resources[resource])) return first;
  const struct stat wanted = TRY(sys::fstat(first.get()));
  for (const Identity& other : others(resource, context)) {
    const Acting acting = TRY(Acting::as(other));
    const UniqueFd again = TRY(open());
    const struct stat found = TRY(sys::fstat(again.get()));
    if (found.st_dev == wanted.st_dev && found.st_ino == wanted.st_ino) continue;
    return fail(EBUSY, "its path leads to another file than a moment ago");
  }
  return first;
}

Result<void> create_all(RestoreContext& context, Restored& restored) {
  for (model::OpenFileIndex i = 0; i < context.image.open_files.size(); ++i) {
    const model::OpenFile& file = context.image.open_files[i];
    if (file.resource >= context.image.resources.size()) {
      return fail(EINVAL, fmt::format("open file {} of the image has no resource", i));
    }
    const Handler* handler = handler_of(context.image.resources[file.resource]);
    UniqueFd fd =
        TRY(open_as_holders(file.resource, context, [&] { return handler->create(i, context); }));
    TRY(set_state(fd.get(), i, context));
    restored.open_files.push_back(std::move(fd));
  }
  return {};
}

// A file that we made is open for writing already, whatever its permissions say by now. For reading
// it is opened again, as a mapping through a writable descriptor could be made writable later.
Result<UniqueFd> open_made(int made, bool writable_shared) {
  if (!writable_shared) {
    auto again = sys::open(fd_path(made), O_RDONLY);
    if (again) return again;
  }
  return sys::duplicate(made);
}

Result<UniqueFd> open_to_map(model::ResourceIndex resource, bool writable_shared,
                             RestoreContext& context) {
  const model::Resource& what = context.image.resources[resource];
  if (std::holds_alternative<model::Memfd>(what)) {
    UniqueFd fd = TRY(open_made(TRY(memfd_descriptor(resource, context)), writable_shared));
    TRY(seal_memfd(resource, false, context));
    return fd;
  }
  const auto& file = std::get<model::RegularFile>(what);
  if (!file.content) {
    const int mode = writable_shared ? O_RDWR : O_RDONLY;
    return sys::open_of_type(context.relocate(file.path), mode | O_NOCTTY, S_IFREG)
        .context("to map it");
  }
  UniqueFd fd = TRY(open_made(TRY(carried_descriptor(resource, context)), writable_shared));
  TRY(finish_regular_file(resource, context));
  // What is open for writing can be nobody's program (ETXTBSY).
  const FileUse use = use_of(context.image, resource);
  if (!use.open && !use.mapped_shared) context.made.erase({resource, "content"});
  return fd;
}

std::vector<Refusal> obstacles_of(const RestoreContext& context, bool lasting_only) {
  std::vector<Refusal> all;
  for (model::ResourceIndex i = 0; i < context.image.resources.size(); ++i) {
    const model::Resource& resource = context.image.resources[i];
    if (lasting_only && follows_requester(resource)) continue;
    const auto check = [&](const Result<Acting>& acting) {
      std::vector<Refusal> found;
      if (acting) {
        found = handler_of(resource)->restore_obstacles(resource, context);
      } else {
        found.push_back({"the image", acting.error().message(), ""});
      }
      for (Refusal& refusal : found) {
        if (std::ranges::find(all, refusal) == all.end()) all.push_back(std::move(refusal));
      }
    };
    check(context.rights.act_for_holder(i));
    for (const Identity& other : others(i, context)) check(Acting::as(other));
  }
  return all;
}

}  // namespace

Result<Acting> act_for_all(const RestoreContext& context) {
  const Identity* only = context.rights.only();
  return only == nullptr ? Acting() : Acting::as(*only);
}

Result<Acting> act_for_process(size_t process, const RestoreContext& context) {
  const auto& identities = context.rights.processes;
  return process < identities.size() ? Acting::as(identities[process]) : Acting();
}

void prefer_files_in_place(model::Image& image, const RestoreContext& context) {
  for (model::ResourceIndex i = 0; i < image.resources.size(); ++i) {
    auto* file = std::get_if<model::RegularFile>(&image.resources[i]);
    if (file == nullptr || !file->content || file->deleted) continue;
    const auto acting = context.rights.act_for_holder(i);
    if (!acting) continue;
    if (file->fallback) {
      // What may not be looked at is not gone: opening it says so.
      const auto found = sys::lstat(context.relocate(file->path));
      const int code = found ? 0 : found.error().code;
      if (code != ENOENT && code != ENOTDIR) file->content.reset();
      continue;
    }
    FileUse use = use_of(image, i);
    // Only mapped, its content is memory, which must be as it was.
    if (!use.open && use.mapped_shared) use.mapped_private = true;
    if (check_file(*file, context.relocate(file->path), use, context.options).empty()) {
      file->content.reset();
    }
  }
}

std::vector<Refusal> restore_obstacles(const RestoreContext& context) {
  return obstacles_of(context, false);
}

std::vector<Refusal> lasting_obstacles(const RestoreContext& context) {
  return obstacles_of(context, true);
}

Result<Restored> create_open_files(RestoreContext& context) {
  Restored restored;
  const auto find_writers = [&]() -> Result<OtherWriters> {
    const Acting acting = TRY(act_for_all(context));
    return other_writers(context);
  };
  const OtherWriters writers = TRY(find_writers());
  TRY(create_all(context, restored));
  TRY(check_process_locks(restored, context));
  const auto count = static_cast<model::ResourceIndex>(context.image.resources.size());
  for (model::ResourceIndex i = 0; i < count; ++i) {
    const Acting acting = TRY(context.rights.act_to_make(i));
    TRY(cut_back(i, writers, restored, context));
    TRY(finish_regular_file(i, context));
    TRY(finish_pipe(i, context));
    TRY(seal_memfd(i, false, context));
  }
  // An end of a pipe that we kept would be a reader or writer that the image did not have.
  std::erase_if(context.made, [&](const auto& entry) {
    return std::holds_alternative<model::Pipe>(context.image.resources[entry.first.first]);
  });
  return restored;
}

Result<int> mapping_descriptor(model::ResourceIndex resource, bool writable_shared,
                               RestoreContext& context) {
  if (resource >= context.image.resources.size()) {
    return fail(EINVAL, fmt::format("the image has no resource {} to map", resource));
  }
  const auto key = std::pair(resource, std::string(writable_shared ? "map rw" : "map r"));
  const auto found = context.made.find(key);
  if (found != context.made.end()) return found->second.get();
  const model::Resource& what = context.image.resources[resource];
  const auto* file = std::get_if<model::RegularFile>(&what);
  const bool is_memfd = std::holds_alternative<model::Memfd>(what);
  if (file == nullptr && !is_memfd) {
    return fail(ENODEV,
                fmt::format("a {} cannot be mapped from a descriptor", handler_of(what)->kind));
  }
  UniqueFd fd = TRY(open_as_holders(
      resource, context, [&] { return open_to_map(resource, writable_shared, context); }));
  return (context.made[key] = std::move(fd)).get();
}

}  // namespace stasis::resource
