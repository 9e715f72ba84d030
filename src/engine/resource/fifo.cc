// A fifo is one thing under all names by which its open files were opened. A name that is there is
// used; one that is missing becomes a link to it; only where none is left the fifo is made. A link
// is made from a descriptor on the fifo, never from a path, and replaces nothing. Names that had
// been removed are given and removed again, so that /proc shows them as it did.
#include "resource/fifo.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/open.h"
#include "base/sys.h"
#include "resource/content.h"
#include "resource/file_check.h"
#include "resource/path.h"
#include "resource/work_folder.h"

namespace stasis::resource {
namespace {

using model::Pipe;

const Pipe& fifo_of(model::ResourceIndex resource, const RestoreContext& context) {
  return std::get<Pipe>(context.image.resources[resource]);
}

LinkName name_of(const model::OpenFile& file, const Pipe& pipe) {
  return file.name.empty() ? LinkName{pipe.path, pipe.deleted}
                           : LinkName{file.name, file.name_removed};
}

// All names, that of the resource first, where they are to be now.
std::vector<LinkName> names_of(model::ResourceIndex resource, const RestoreContext& context) {
  const Pipe& pipe = fifo_of(resource, context);
  std::vector<LinkName> names = {{pipe.path, pipe.deleted}};
  for (const model::OpenFile& file : context.image.open_files) {
    if (file.resource != resource) continue;
    const LinkName name = name_of(file, pipe);
    if (std::ranges::find(names, name) == names.end()) names.push_back(name);
  }
  for (LinkName& name : names) name.path = context.relocate(name.path);
  return names;
}

// Under which role the context has a descriptor that bears the name.
std::string role_of(const LinkName& name) {
  return (name.deleted ? "removed " : "name ") + name.path;
}

bool same_thing(const struct stat& a, const struct stat& b) {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

// ------------------------------------------------------------------ what stands in the way

std::optional<Refusal> existing_obstacle(const std::string& path, const struct stat& status) {
  if (!S_ISFIFO(status.st_mode)) {
    return Refusal{{},
                   fmt::format("{} was a fifo and is {} now", path, type_name(status.st_mode)),
                   "remove it, or put the fifo back"};
  }
  const auto allowed = sys::check(::faccessat(AT_FDCWD, path.c_str(), R_OK | W_OK, AT_EACCESS),
                                  "open both ends of", path);
  if (allowed) return std::nullopt;
  return Refusal{{},
                 allowed.error().message(),
                 "give permission to read and write it: chmod",
                 allowed.error().code};
}

std::optional<Refusal> missing_obstacle(const std::string& path) {
  const std::string directory = directory_of(path);
  const auto status = sys::stat(directory);
  if (!status) return Refusal{{}, status.error().message(), "make the directory again"};
  const auto allowed =
      sys::check(::faccessat(AT_FDCWD, directory.c_str(), W_OK | X_OK, AT_EACCESS),
                 fmt::format("make the fifo {} again in", base_name(path)), directory);
  if (allowed) return std::nullopt;
  return Refusal{{},
                 allowed.error().message(),
                 "put the fifo back, or give permission to write the directory",
                 allowed.error().code};
}

// The kernel lets only the owner link a fifo, where fs.protected_hardlinks is set (proc(5)).
bool may_be_linked(const struct stat& status) {
  if (::geteuid() == 0 || status.st_uid == ::geteuid()) return true;
  const auto setting = sys::read_file("/proc/sys/fs/protected_hardlinks");
  return setting.ok() && setting->starts_with('0');
}

// ------------------------------------------------------------------ making

Result<UniqueFd> link_in(const WorkFolder& folder, int fd, const LinkName& name, bool by_root,
                         RestoreContext& context) {
  WorkFolder::Named made = TRY(folder.second_name(fd, base_name(name.path), name.deleted));
  if (name.deleted) {
    TRY(folder.remove(made.name, made.fd.get(), 0, false));
  } else {
    context.new_names.push_back({name.path, by_root});
  }
  return std::move(made.fd);
}

// Gives the fifo behind `fd` one more name, for good or for a moment; the descriptor bears it. What
// root makes gets names from root in root's folders only, elsewhere from its holder.
Result<UniqueFd> link_name(model::ResourceIndex resource, int fd, const LinkName& name,
                           RestoreContext& context) {
  const bool by_root = context.rights.making_of(resource).by_root;
  if (by_root) {
    const auto folder = name.deleted ? carried_file_folder(name.path, true)
                                     : WorkFolder::open_roots(directory_of(name.path));
    if (folder) return link_in(*folder, fd, name, true, context);
  }
  const Acting acting = TRY(context.rights.act_for_holder(resource));
  const auto folder = TRY(name.deleted ? carried_file_folder(name.path, false)
                                       : WorkFolder::open(directory_of(name.path)));
  return link_in(folder, fd, name, false, context);
}

// The fifo at a name that was found, for its name alone.
Result<UniqueFd> look_at(const std::string& path, int fifo) {
  UniqueFd found = TRY(sys::open_of_type(path, O_PATH, S_IFIFO));
  if (same_thing(TRY(sys::fstat(found.get())), TRY(sys::fstat(fifo)))) return found;
  return fail(EBUSY, path + " leads to another fifo than a moment ago");
}

// Makes what the context has for each name of a fifo with several. A name that had been removed is
// not worth a failure: without it /proc shows another one.
Result<void> give_names(model::ResourceIndex resource, const std::vector<LinkName>& names, int fifo,
                        RestoreContext& context) {
  for (const LinkName& name : names) {
    if (context.made.contains({resource, role_of(name)})) continue;
    const bool there = !name.deleted && sys::lstat(name.path).ok();
    auto named = there ? look_at(name.path, fifo) : link_name(resource, fifo, name, context);
    if (!named && !name.deleted) return std::move(named).take_error();
    if (!named) {
      context.notes.push_back(fmt::format("{} shows another name in /proc than it did: {}",
                                          name.path, named.error().message()));
      continue;
    }
    context.made[{resource, role_of(name)}] = std::move(*named);
  }
  return {};
}

// Made under its first name, given the others, and rid of the first if that had been removed.
Result<UniqueFd> make_in(const WorkFolder& folder, Making making, model::ResourceIndex resource,
                         const std::vector<LinkName>& names, RestoreContext& context) {
  const Pipe& pipe = fifo_of(resource, context);
  const LinkName& first = names.front();
  WorkFolder::Named made = TRY(folder.new_fifo(base_name(first.path), first.deleted));
  if (!first.deleted) context.new_names.push_back({first.path, making.by_root});
  const model::FileIdentity owner{.mode = pipe.mode, .uid = pipe.uid, .gid = pipe.gid};
  TRY(give_permissions(made.fd.get(), owner, first.path, making, context));
  Result<void> named;
  if (names.size() > 1) {
    context.made[{resource, role_of(first)}] = TRY(sys::duplicate(made.fd.get()));
    named = give_names(resource, names, made.fd.get(), context);
  }
  if (first.deleted) TRY(folder.remove(made.name, made.fd.get()));
  TRY(std::move(named));
  return std::move(made.fd);
}

// In a folder of his own its holder could put any fifo under the name: there it is his.
Result<UniqueFd> make_with_names(model::ResourceIndex resource, const std::vector<LinkName>& names,
                                 RestoreContext& context) {
  const Making making = context.rights.making_of(resource);
  const LinkName& first = names.front();
  if (first.deleted) {
    return make_in(TRY(carried_file_folder(first.path, making.by_root)), making, resource, names,
                   context);
  }
  if (making.by_root) {
    const auto folder = WorkFolder::open_roots(directory_of(first.path));
    if (folder) return make_in(*folder, making, resource, names, context);
  }
  const Acting acting = TRY(context.rights.act_for_holder(resource));
  return make_in(TRY(WorkFolder::open(directory_of(first.path))), {}, resource, names, context);
}

}  // namespace

std::vector<Refusal> fifo_obstacles(model::ResourceIndex resource, const std::string& subject,
                                    const RestoreContext& context) {
  std::vector<Refusal> refusals;
  const auto refuse = [&](std::optional<Refusal> refusal) {
    if (!refusal) return;
    refusal->subject = subject;
    refusals.push_back(std::move(*refusal));
  };
  if (fifo_of(resource, context).deleted) {
    const auto place = carried_file_directory(names_of(resource, context).front().path);
    if (!place)
      refuse(Refusal{{}, place.error().message(), place.error().hint, place.error().code});
  }
  std::string first, missing;
  struct stat found = {};
  for (const LinkName& name : names_of(resource, context)) {
    if (name.deleted) continue;
    const auto status = sys::stat(name.path);
    if (!status) {
      missing = name.path;
      refuse(missing_obstacle(name.path));
      continue;
    }
    refuse(existing_obstacle(name.path, *status));
    if (first.empty()) {
      first = name.path;
      found = *status;
    } else if (!same_thing(found, *status)) {
      refuse(
          Refusal{{},
                  fmt::format("{} and {} were one fifo and are two things now", first, name.path),
                  "remove one of them: it is made again as a link to the other"});
    }
  }
  if (!first.empty() && !missing.empty() && !may_be_linked(found)) {
    refuse(Refusal{{},
                   fmt::format("{} was another name of the fifo {} and is gone; only user {}, the "
                               "owner, may link it (fs.protected_hardlinks)",
                               missing, first, found.st_uid),
                   fmt::format("let the owner link it: ln {} {}", first, missing),
                   EPERM});
  }
  return refusals;
}

Result<UniqueFd> find_or_make_fifo(model::ResourceIndex resource, RestoreContext& context) {
  const std::vector<LinkName> names = names_of(resource, context);
  const auto is_there = [](const LinkName& name) {
    return !name.deleted && sys::lstat(name.path).ok();
  };
  {
    const Acting acting = TRY(context.rights.act_for_holder(resource));
    const auto there = std::ranges::find_if(names, is_there);
    if (there != names.end()) {
      UniqueFd fifo = TRY(sys::open_of_type(there->path, O_RDWR | O_NONBLOCK, S_IFIFO));
      if (names.size() > 1) TRY(give_names(resource, names, fifo.get(), context));
      return fifo;
    }
  }
  return make_with_names(resource, names, context);
}

int fifo_name_descriptor(model::OpenFileIndex index, const RestoreContext& context) {
  const model::OpenFile& file = context.image.open_files[index];
  LinkName name = name_of(file, fifo_of(file.resource, context));
  name.path = context.relocate(name.path);
  const auto found = context.made.find({file.resource, role_of(name)});
  return found == context.made.end() ? -1 : found->second.get();
}

}  // namespace stasis::resource
