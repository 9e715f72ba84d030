// Files that areas map -> resources. A file that a path still leads to is taken by its path; one
// that is gone is carried: from a descriptor on it if there is one, else put together from the
// areas that map it (the kernel lets nobody but root open /proc/PID/map_files).
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/sys.h"
#include "capture/areas.h"
#include "capture/builder.h"
#include "capture/mapped_names.h"

namespace stasis::capture {
namespace {

// What areas of one object have in common in every process.
std::string mapping_key(const proc::Area& area) {
  return fmt::format("mapped:{:x}:{:x}:{}", area.device_major, area.device_minor, area.inode);
}

// Whether what the program writes there now or later would go to the file.
bool may_write_to_file(const proc::Area& area) {
  return area.shared && ((area.protection & PROT_WRITE) != 0 || area.has_flag("mw"));
}

bool is_shared_memory(const proc::Area& area) {
  // Named by PR_SET_VMA it shows as "[anon_shmem:NAME]".
  return (area.path == "/dev/zero" && area.deleted) || area.path.starts_with("[anon_shmem:");
}

constexpr std::string_view kMemfdPrefix = "/memfd:";

u64 bytes_of(const std::vector<model::Run>& runs) {
  u64 bytes = 0;
  for (const model::Run& run : runs) bytes += run.length;
  return bytes;
}

}  // namespace

Result<model::ResourceIndex> Builder::mapped_resource(trace::FrozenProcess& process,
                                                      const proc::Area& area) {
  const std::string key = mapping_key(area);
  model::ResourceIndex index = 0;
  if (const auto known = resources_by_key_.find(key); known != resources_by_key_.end()) {
    index = known->second;
  } else {
    index = TRY(file_of(process, area, key));
    resources_by_key_[key] = index;
  }
  if (const auto content = mapped_.find(index); content != mapped_.end()) {
    content->second.add(process, area);
  }
  if (may_write_to_file(area)) TRY(check_other_names(index, area));
  return index;
}

// What is carried becomes a file of the program's own: what it writes does not reach other names.
Result<void> Builder::check_other_names(model::ResourceIndex index, const proc::Area& area) {
  if (living_.contains(index)) {
    return fail(
        EOPNOTSUPP,
        fmt::format("mapped file {}: it is shared and writable, and its path leads to another "
                    "file here, or to none, but it has another name that cannot be found",
                    area.path),
        "give it its name back: ln");
  }
  if (!unsure_.erase(index)) return {};
  notes.push_back(
      fmt::format("{}: it was removed under this name and is mapped shared and writable. "
                  "No other name was found beside it; if there is one, what the program "
                  "writes after a restart does not arrive there",
                  area.path));
  return {};
}

// A descriptor on the same object: one resource for both.
Result<std::optional<model::ResourceIndex>> Builder::file_by_descriptor(const proc::Area& area) {
  for (const ProcessDescriptors& table : descriptors_) {
    for (const resource::FdFacts& facts : table.facts) {
      if (facts.status.st_ino != area.inode || !facts.duplicate || !S_ISREG(facts.status.st_mode) ||
          (facts.info.flags & O_PATH) != 0) {
        continue;
      }
      if (!TRY(maps_this(area, facts.duplicate.get(), facts.status))) continue;
      const model::ResourceIndex index = TRY(resource_for(facts));
      note_build_id(index, facts.duplicate.get());
      return std::optional(index);
    }
  }
  return std::optional<model::ResourceIndex>();
}

// /proc/PID/map_files gives a descriptor on the object itself, but only with
// CAP_CHECKPOINT_RESTORE. Shared anonymous memory stays what it is. `lives`: the file has a name.
Result<std::optional<model::ResourceIndex>> Builder::file_by_mapping(
    const trace::FrozenProcess& process, const proc::Area& area, bool& lives) {
  std::optional<model::ResourceIndex> none;
  if (is_shared_memory(area)) return none;
  resource::FdFacts facts;
  const std::string link = fmt::format("/proc/{}/map_files/{:x}-{:x}", process.any_live_tid(),
                                       area.start.value, area.end.value);
  auto fd = sys::open(link, O_RDONLY | O_NOCTTY | O_NONBLOCK);
  if (!fd) return none;
  facts.number = -1;
  facts.link = TRY(sys::read_link(link));
  facts.status = TRY(sys::fstat(fd->get()));
  lives = facts.status.st_nlink != 0;
  if (lives) return none;
  facts.info.flags = O_RDONLY;
  facts.duplicate = std::move(*fd);
  const model::ResourceIndex index = TRY(resource_for(facts));
  note_build_id(index, facts.duplicate.get());
  return std::optional(index);
}

Result<model::ResourceIndex> Builder::file_of(const trace::FrozenProcess& process,
                                              const proc::Area& area, const std::string& key) {
  if (const auto index = TRY(file_by_descriptor(area))) return *index;
  const bool has_path = !is_shared_memory(area) && !area.path.starts_with(kMemfdPrefix);
  auto named =
      has_path ? open_by_name(area) : Result<NamedFile>(fail(ENOENT, "it never had a name"));
  if (!named && named.error().code != ENOENT) return std::move(named).take_error();
  if (!named) {
    // Gone, or replaced under its name without the kernel saying "(deleted)" (rename over a bind
    // mount, another mount on top): what is mapped is carried in the image instead.
    bool lives = has_path && !area.deleted;
    if (!lives) {
      if (const auto index = TRY(file_by_mapping(process, area, lives))) return *index;
    }
    const model::ResourceIndex index = content_by_mapping(area, key);
    if (has_path) (lives ? living_ : unsure_).insert(index);
    return index;
  }
  resource::FdFacts facts;
  facts.pid = 0;
  facts.number = -1;
  facts.link = named->path;
  facts.duplicate = std::move(named->file);
  facts.status = TRY(sys::fstat(facts.duplicate.get()));
  facts.info.flags = O_RDONLY;
  const model::ResourceIndex index = TRY(resource_for(facts));
  note_build_id(index, facts.duplicate.get());
  return index;
}

// Memory-backed objects and deleted files that no descriptor leads to. Their size is what the areas
// reach; the rest is out of the program's reach as well.
model::ResourceIndex Builder::content_by_mapping(const proc::Area& area, const std::string& key) {
  const model::SpaceIndex space = add_space(area.path, 0);
  model::Resource resource;
  if (is_shared_memory(area)) {
    resource = model::SharedMemory{.inode = area.inode, .size = 0, .content = space};
  } else if (area.path.starts_with(kMemfdPrefix)) {
    resource = model::Memfd{.name = area.path.substr(kMemfdPrefix.size()),
                            .inode = area.inode,
                            .size = 0,
                            .seals = 0,
                            .mode = S_IFREG | 0777,
                            .huge_page_log2 = 0,
                            .content = space};
  } else {
    model::RegularFile file;
    file.path = area.path;
    file.identity.device = ::makedev(area.device_major, area.device_minor);
    file.identity.inode = area.inode;
    file.identity.mode = S_IFREG | 0700;
    file.deleted = true;
    file.content = space;
    resource = std::move(file);
  }
  const model::ResourceIndex index = add_resource(std::move(resource), key);
  mapped_.insert_or_assign(index, MappedContent(space));
  return index;
}

Result<model::ResourceIndex> Builder::executable(trace::FrozenProcess& process) {
  const std::string link = fmt::format("/proc/{}/exe", process.any_live_tid());
  const UniqueFd fd = TRY(sys::open(link, O_RDONLY));
  const struct stat status = TRY(sys::fstat(fd.get()));
  resource::FdFacts facts;
  facts.pid = process.pid;
  facts.number = -1;
  facts.link = TRY(sys::read_link(link));
  facts.status = status;
  facts.info.flags = O_RDONLY;
  facts.duplicate = TRY(sys::duplicate(fd.get()));
  const model::ResourceIndex index = TRY(resource_for(facts));
  note_build_id(index, fd.get());
  proc::Area area;  // so that its mappings find it
  area.device_major = ::major(status.st_dev);
  area.device_minor = ::minor(status.st_dev);
  area.inode = status.st_ino;
  resources_by_key_.try_emplace(mapping_key(area), index);
  return index;
}

void Builder::note_build_id(model::ResourceIndex index, int fd) {
  auto* file = std::get_if<model::RegularFile>(&image.resources[index]);
  if (file != nullptr && file->identity.build_id.empty())
    file->identity.build_id = resource::read_build_id(fd);
}

Result<void> Builder::note_mapped_pages(trace::FrozenProcess& process, trace::RemoteCalls& calls) {
  for (auto& [index, content] : mapped_) {
    const bool on_disk = std::holds_alternative<model::RegularFile>(image.resources[index]);
    TRY(content.note_pages(process, calls, on_disk));
  }
  return {};
}

void Builder::connect_mapped_contents() {
  for (auto& [index, content] : mapped_) {
    MappedContent::Parts parts = content.parts();
    model::Space& space = image.spaces[content.space()];
    space.size = parts.size;
    space.runs = std::move(parts.runs);
    pages.add_mapped(content.space(), std::move(parts.pieces));
    std::visit(
        [&parts](auto& resource) {
          if constexpr (requires { resource.size; }) resource.size = parts.size;
          if constexpr (requires { resource.identity.size; }) resource.identity.size = parts.size;
        },
        image.resources[index]);
    if (!parts.unmapped.empty()) {
      notes.push_back(fmt::format(
          "{}: {} bytes of it are mapped by no process and no descriptor leads to it: they cannot "
          "be read and will be zeros",
          space.label, bytes_of(parts.unmapped)));
    }
    if (!parts.hidden.empty()) {
      notes.push_back(fmt::format(
          "{}: {} bytes of it lie below changed pages of private mappings, and no shared mapping "
          "or descriptor shows them: they cannot be read and will be zeros (a program sees them "
          "only if it gives up its changed pages)",
          space.label, bytes_of(parts.hidden)));
    }
  }
}

model::SpaceIndex Builder::add_space(std::string label, u64 size) {
  image.spaces.push_back({.label = std::move(label), .size = size, .runs = {}});
  return static_cast<model::SpaceIndex>(image.spaces.size() - 1);
}

Result<model::SpaceIndex> Builder::add_content(UniqueFd file, u64 size, std::string label) {
  const model::SpaceIndex space = add_space(std::move(label), size);
  image.spaces[space].runs = TRY(file_runs(file.get(), size));
  pages.add_file(space, std::move(file));
  return space;
}

}  // namespace stasis::capture
