// Finding which files are mapped and open how, and opening them by the names that the image has for
// them. Files in places that are cleaned away (by a reboot, a timer, or another program of the same
// kind, as for Java's hsperfdata) are carried without being asked for while they are small.
#include "capture/carried_files.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>
#include <set>

#include "base/open.h"
#include "base/sys.h"
#include "resource/uses.h"

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

// Whether its holders have no more of it than its name (O_PATH), for which no right on the file is
// asked: its contents are none of theirs.
bool is_only_named(const model::Image& image, ResourceIndex index) {
  const resource::FileUse use = resource::use_of(image, index);
  const bool mapped = use.mapped_private || use.mapped_shared;
  const auto runs_it = [&](const model::Process& each) { return each.executable == index; };
  return use.open && !use.written && !use.read_only && !mapped &&
         std::ranges::none_of(image.processes, runs_it);
}

// Whether no holder can have its contents, whatever it does with the descriptor. In doubt it can: a
// group, and who stands in an access control list, see the group's bits.
bool is_closed_to_holders(const model::Image& image, ResourceIndex index,
                          const model::FileIdentity& identity) {
  if ((identity.mode & (S_IRGRP | S_IROTH)) != 0) return false;
  return std::ranges::all_of(image.processes, [&](const model::Process& process) {
    const model::Credentials& who = process.credentials;
    const auto holds = [&](const model::Descriptor& each) {
      return image.open_files[each.open_file].resource == index;
    };
    if (std::ranges::none_of(process.descriptors, holds)) return true;
    return who.permitted == 0 && std::ranges::find(who.uids, identity.uid) == who.uids.end();
  });
}

// What is carried of a thing without a name, and whose it is.
struct Nameless {
  model::SpaceIndex content = 0;
  model::FileIdentity identity;
};

std::optional<Nameless> nameless(const model::Resource& resource) {
  if (const auto* file = std::get_if<model::RegularFile>(&resource)) {
    if (!file->content) return std::nullopt;
    return Nameless{*file->content, file->identity};
  }
  const auto* memfd = std::get_if<model::Memfd>(&resource);
  if (memfd == nullptr) return std::nullopt;
  return Nameless{memfd->content, {.mode = memfd->mode, .uid = memfd->uid, .gid = memfd->gid}};
}

// A deleted file or memfd of which the image has O_PATH descriptors only comes back without
// contents, as zeros.
void forget_contents_of_others(model::Image& image) {
  for (ResourceIndex i = 0; i < image.resources.size(); ++i) {
    const auto what = nameless(image.resources[i]);
    if (!what || !is_only_named(image, i)) continue;
    if (is_closed_to_holders(image, i, what->identity)) image.spaces[what->content].runs.clear();
  }
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
    if (!cleaned || file->identity.size > kLargestUnasked || is_only_named(image, i)) continue;
    passing.insert(i);
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
  forget_contents_of_others(builder.image);
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
