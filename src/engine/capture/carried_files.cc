// Finding which files are mapped and open how, and opening them by the names that the image has for
// them. Files in places that are cleaned away (by a reboot, a timer, or another program of the same
// kind, as for Java's hsperfdata) are carried without being asked for while they are small.
#include "capture/carried_files.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <set>

#include "base/open.h"
#include "base/sys.h"

namespace stasis::capture {
namespace {

using model::ResourceIndex;

constexpr std::array<std::string_view, 3> kCleanedPlaces = {"/tmp/", "/dev/shm/", "/run/"};
// docs/limits.md tells these two.
constexpr u64 kLargestUnasked = 4 << 20;
constexpr u64 kMostUnasked = 64 << 20;  // of one image

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

// Files that a restart may find cleaned away.
std::set<ResourceIndex> passing_files(const model::Image& image) {
  std::set<ResourceIndex> passing;
  for (ResourceIndex i = 0; i < image.resources.size(); ++i) {
    const auto* file = std::get_if<model::RegularFile>(&image.resources[i]);
    if (file == nullptr || file->content || file->deleted || !S_ISREG(file->identity.mode))
      continue;
    const bool cleaned = std::ranges::any_of(
        kCleanedPlaces, [&](std::string_view place) { return file->path.starts_with(place); });
    if (cleaned && file->identity.size <= kLargestUnasked) passing.insert(i);
  }
  return passing;
}

Result<void> carry(Builder& builder, ResourceIndex index, bool fallback) {
  const auto* file = std::get_if<model::RegularFile>(&builder.image.resources[index]);
  if (file == nullptr || file->content || !S_ISREG(file->identity.mode)) return {};
  const std::string path = file->path;
  UniqueFd fd = TRY(sys::open_of_type(path, O_RDONLY | O_NOCTTY, S_IFREG).context("to carry it"));
  const struct stat status = TRY(sys::fstat(fd.get()));
  if (status.st_dev != file->identity.device || status.st_ino != file->identity.inode) {
    return fail(ESTALE, fmt::format("{} is another file than the one that is mapped", path));
  }
  const auto size = static_cast<u64>(status.st_size);
  const model::SpaceIndex content = TRY(builder.add_content(std::move(fd), size, path));
  auto& carried = std::get<model::RegularFile>(builder.image.resources[index]);
  carried.content = content;
  carried.fallback = fallback;
  return {};
}

}  // namespace

Result<void> carry_files(Builder& builder, const CaptureOptions& options) {
  for (const ResourceIndex index : wanted_files(builder.image, options)) {
    TRY(carry(builder, index, false));
  }
  if (!options.carry_small) return {};
  u64 bytes = 0;
  for (const ResourceIndex index : passing_files(builder.image)) {
    bytes += std::get<model::RegularFile>(builder.image.resources[index]).identity.size;
    if (bytes > kMostUnasked) break;
    (void)carry(builder, index, true);  // nobody asked for it: without it the name alone counts
  }
  return {};
}

}  // namespace stasis::capture
