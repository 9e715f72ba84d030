// Names are resources of their own, as each is opened by its path; that they were one file show
// device and inode. A link is made from a descriptor and replaces nothing.
#include "resource/hard_link.h"

#include <fcntl.h>
#include <fmt/format.h>

#include "base/sys.h"
#include "resource/path.h"
#include "resource/work_folder.h"

namespace stasis::resource {
namespace {

const model::RegularFile* named_file(model::ResourceIndex index, const RestoreContext& context) {
  const auto* file = std::get_if<model::RegularFile>(&context.image.resources[index]);
  const bool carried_whole = file != nullptr && file->content && !file->fallback;
  return file == nullptr || file->deleted || carried_whole ? nullptr : file;
}

bool same_file(const model::RegularFile& a, const model::RegularFile& b) {
  return a.identity.inode != 0 && a.identity.inode == b.identity.inode &&
         a.identity.device == b.identity.device;
}

// Whether both are looked up and made with the same rights; else each is its own, as one user's
// file is not to be made, or linked, as another.
bool same_rights(model::ResourceIndex a, model::ResourceIndex b, const Rights& rights) {
  if (rights.making_of(a).by_root || rights.making_of(b).by_root) return false;
  const auto& holders = rights.resources;
  return a >= holders.size() || b >= holders.size() || holders[a] == holders[b];
}

}  // namespace

std::optional<model::ResourceIndex> first_name_of(model::ResourceIndex resource,
                                                  const RestoreContext& context) {
  const model::RegularFile* file = named_file(resource, context);
  if (file == nullptr) return std::nullopt;
  std::optional<model::ResourceIndex> made_before;
  const auto count = static_cast<model::ResourceIndex>(context.image.resources.size());
  for (model::ResourceIndex i = 0; i < count; ++i) {
    const model::RegularFile* other = named_file(i, context);
    if (i == resource || other == nullptr || !same_file(*file, *other)) continue;
    if (!same_rights(i, resource, context.rights)) continue;
    if (!other->content) return i;
    if (i < resource && !made_before) made_before = i;
  }
  return made_before;
}

Result<UniqueFd> link_to(int fd, model::ResourceIndex other, model::ResourceIndex resource,
                         RestoreContext& context) {
  const auto path_of = [&](model::ResourceIndex index) {
    return context.relocate(std::get<model::RegularFile>(context.image.resources[index]).path);
  };
  const std::string path = path_of(resource);
  const WorkFolder folder = TRY(WorkFolder::open(directory_of(path)));
  const WorkFolder::Named named = TRY(folder.second_name(fd, base_name(path), false));
  auto again = sys::open(fd_path(named.fd.get()), O_RDWR | O_NOCTTY);
  if (!again) again = sys::open(fd_path(named.fd.get()), O_RDONLY | O_NOCTTY);
  if (!again) {
    TRY(folder.remove(named.name, named.fd.get(), 0, false));
    return again;
  }
  context.new_names.push_back({path});
  context.notes.push_back(
      fmt::format("{} was gone and was made again as a link to {}", path, path_of(other)));
  return again;
}

}  // namespace stasis::resource
