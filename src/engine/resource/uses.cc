// Look-ups in an image: who uses what. It changes nothing and asks no kernel.
#include "resource/uses.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>

namespace stasis::resource {
namespace {

std::string name_descriptor(const Use& use, const std::string& name) {
  return fmt::format("descriptor {} of process {} ({})", use.descriptor->number, use.process->pid,
                     name);
}

void add_open_files(const model::Image& image, model::ResourceIndex resource, FileUse& use,
                    const std::string& name) {
  for (model::OpenFileIndex i = 0; i < image.open_files.size(); ++i) {
    const model::OpenFile& file = image.open_files[i];
    if (file.resource != resource) continue;
    use.open = true;
    use.flags.insert(file.flags);
    const bool path_only = (file.flags & O_PATH) != 0;
    use.written = use.written || may_write(file.flags);
    use.read_only = use.read_only || (!path_only && !may_write(file.flags));
    if (use.subject.empty()) use.subject = subject_of(image, i, name);
  }
}

void add_areas(const model::Process& process, model::ResourceIndex resource, FileUse& use,
               const std::string& name) {
  const bool runs_it = process.executable == resource;
  bool maps_it = false;
  for (const model::Vma& vma : process.memory.vmas) {
    if (vma.resource != resource) continue;
    maps_it = true;
    (vma.shared ? use.mapped_shared : use.mapped_private) = true;
    use.mapped_writable = use.mapped_writable || maps_writable_shared(vma);
  }
  if (!use.subject.empty() || (!runs_it && !maps_it)) return;
  use.subject =
      fmt::format("{}, {} process {}", name, runs_it ? "the program of" : "mapped by", process.pid);
}

std::string path_of(const model::Resource& resource) {
  const auto* file = std::get_if<model::RegularFile>(&resource);
  return file != nullptr ? file->path : std::string();
}

}  // namespace

std::optional<Use> first_use(const model::Image& image, model::OpenFileIndex open_file) {
  for (const model::Process& process : image.processes) {
    const model::Descriptor* descriptor = first_descriptor(process, open_file);
    if (descriptor != nullptr) return Use{&process, descriptor};
  }
  return std::nullopt;
}

const model::Descriptor* first_descriptor(const model::Process& process,
                                          model::OpenFileIndex open_file) {
  for (const model::Descriptor& descriptor : process.descriptors) {
    if (descriptor.open_file == open_file) return &descriptor;
  }
  return nullptr;
}

FileUse use_of(const model::Image& image, model::ResourceIndex resource) {
  FileUse use;
  const std::string name = path_of(image.resources[resource]);
  add_open_files(image, resource, use, name);
  for (const model::Process& process : image.processes) add_areas(process, resource, use, name);
  if (use.subject.empty()) use.subject = name;
  return use;
}

std::set<u32> flags_of(const model::Image& image, const model::Resource& resource) {
  std::set<u32> flags;
  const model::ResourceIndex index = index_of(image, resource);
  for (const model::OpenFile& file : image.open_files) {
    if (file.resource == index) flags.insert(file.flags);
  }
  return flags;
}

model::ResourceIndex index_of(const model::Image& image, const model::Resource& resource) {
  return static_cast<model::ResourceIndex>(&resource - image.resources.data());
}

std::string subject_of(const model::Image& image, model::OpenFileIndex open_file,
                       const std::string& name) {
  const auto use = first_use(image, open_file);
  return use ? name_descriptor(*use, name) : name;
}

std::string subject_of(const model::Image& image, const model::Resource& resource,
                       const std::string& name) {
  const model::ResourceIndex index = index_of(image, resource);
  for (model::OpenFileIndex i = 0; i < image.open_files.size(); ++i) {
    if (image.open_files[i].resource == index) return subject_of(image, i, name);
  }
  return name;
}

int access_mode(u32 flags) {
  return static_cast<int>(flags) & O_ACCMODE;
}

bool may_write(u32 flags) {
  return (flags & O_PATH) == 0 && access_mode(flags) != O_RDONLY;
}

bool may_read(u32 flags) {
  return (flags & O_PATH) == 0 && access_mode(flags) != O_WRONLY;
}

bool maps_writable_shared(const model::Vma& vma) {
  constexpr std::string_view kMayWrite = "mw";  // of VmFlags
  if (!vma.shared) return false;
  return (vma.protection & PROT_WRITE) != 0 ||
         std::ranges::find(vma.flags, kMayWrite) != vma.flags.end();
}

}  // namespace stasis::resource
