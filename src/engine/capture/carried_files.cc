// Finding which files are mapped how, and opening them by the names that the image has for them.
#include "capture/carried_files.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <cerrno>
#include <set>

#include "base/sys.h"

namespace stasis::capture {
namespace {

using model::ResourceIndex;

std::set<ResourceIndex> wanted_files(const model::Image& image, const CaptureOptions& options) {
  std::set<ResourceIndex> wanted;
  for (const model::Process& process : image.processes) {
    if (options.save_executable && process.executable) wanted.insert(*process.executable);
    for (const model::Vma& vma : process.memory.vmas) {
      if (!vma.resource || vma.kind != model::VmaKind::kFile) continue;
      if (vma.shared ? options.save_shared : options.save_private) wanted.insert(*vma.resource);
    }
  }
  return wanted;
}

Result<void> carry(Builder& builder, ResourceIndex index) {
  const auto* file = std::get_if<model::RegularFile>(&builder.image.resources[index]);
  if (file == nullptr || file->content || !S_ISREG(file->identity.mode)) return {};
  const std::string path = file->path;
  UniqueFd fd = TRY(sys::open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY).context("to carry it"));
  const struct stat status = TRY(sys::fstat(fd.get()));
  if (status.st_dev != file->identity.device || status.st_ino != file->identity.inode) {
    return fail(ESTALE, fmt::format("{} is another file than the one that is mapped", path));
  }
  const auto size = static_cast<u64>(status.st_size);
  const model::SpaceIndex content = TRY(builder.add_content(std::move(fd), size, path));
  std::get<model::RegularFile>(builder.image.resources[index]).content = content;
  return {};
}

}  // namespace

Result<void> carry_files(Builder& builder, const CaptureOptions& options) {
  for (const ResourceIndex index : wanted_files(builder.image, options)) {
    TRY(carry(builder, index));
  }
  return {};
}

}  // namespace stasis::capture
