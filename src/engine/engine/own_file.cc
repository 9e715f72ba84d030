// A regular file only, and only one that nobody maps: a pipe to somebody outside is handled as any
// other, and who maps the context file while it is being written wants what cannot be had.
#include "engine/own_file.h"

#include <fcntl.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <set>

namespace stasis::engine {
namespace {

bool is_destination(const model::Resource& resource, const struct stat& destination) {
  const auto* file = std::get_if<model::RegularFile>(&resource);
  return file != nullptr && file->identity.device == destination.st_dev &&
         file->identity.inode == destination.st_ino;
}

std::set<model::ResourceIndex> mapped(const model::Image& image) {
  std::set<model::ResourceIndex> found;
  for (const model::Process& process : image.processes) {
    if (process.executable) found.insert(*process.executable);
    for (const model::Vma& vma : process.memory.vmas) {
      if (vma.resource) found.insert(*vma.resource);
    }
  }
  return found;
}

}  // namespace

void set_aside(model::Image& image, const struct stat& destination) {
  if (!S_ISREG(destination.st_mode)) return;
  const std::set<model::ResourceIndex> kept = mapped(image);
  for (model::ResourceIndex i = 0; i < image.resources.size(); ++i) {
    if (kept.contains(i) || !is_destination(image.resources[i], destination)) continue;
    const auto& carried = std::get<model::RegularFile>(image.resources[i]).content;
    if (carried) image.spaces[*carried] = {.label = "the context file", .size = 0, .runs = {}};
    image.resources[i] = model::Device{"/dev/null", makedev(1, 3)};
    for (model::OpenFile& file : image.open_files) {
      if (file.resource != i) continue;
      file = model::OpenFile{.resource = i, .flags = file.flags & O_ACCMODE};
    }
  }
}

void replace_handles(model::Image& image, std::span<const u64> pipes) {
  for (model::ResourceIndex i = 0; i < image.resources.size(); ++i) {
    const auto* pipe = std::get_if<model::Pipe>(&image.resources[i]);
    if (pipe == nullptr || std::ranges::find(pipes, pipe->inode) == pipes.end()) continue;
    image.resources[i] = model::EventFd{.count = 1};
    for (model::OpenFile& file : image.open_files) {
      if (file.resource == i) file = model::OpenFile{.resource = i, .flags = O_RDWR};
    }
  }
}

}  // namespace stasis::engine
