// Opening and checking.
#include "backtrace/modules.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "base/open.h"
#include "base/sys.h"
#include "resource/handler.h"

namespace stasis::cli {
namespace {

constexpr u64 kVdsoKey = std::numeric_limits<u64>::max();

ElfFile::Reader reader_of(std::shared_ptr<UniqueFd> fd) {
  return [fd = std::move(fd)](u64 offset, ByteSpan out) {
    const auto got = sys::pread_full(fd->get(), out, offset);
    if (!got) return false;
    // Behind the end of a mapped file its last page is zeros.
    std::fill(out.begin() + static_cast<std::ptrdiff_t>(*got), out.end(), std::byte{0});
    return true;
  };
}

// Opens a regular file without being held up by fifos and devices; nullptr otherwise.
std::shared_ptr<UniqueFd> open_regular(const std::string& path, struct stat& status) {
  auto fd = sys::open_of_type(path, O_RDONLY | O_NOCTTY, S_IFREG);
  if (!fd) return nullptr;
  const auto found = sys::fstat(fd->get());
  if (!found) return nullptr;
  status = *found;
  return std::make_shared<UniqueFd>(std::move(*fd));
}

bool is_same(const model::FileIdentity& saved, int fd, const struct stat& now) {
  if (!saved.build_id.empty()) return resource::read_build_id(fd) == saved.build_id;
  const i64 mtime_ns = now.st_mtim.tv_sec * 1'000'000'000 + now.st_mtim.tv_nsec;
  return static_cast<u64>(now.st_size) == saved.size && mtime_ns == saved.mtime_ns;
}

void open_debug_file(Module& module, const std::string& build_id) {
  const bool hex = build_id.find_first_not_of("0123456789abcdef") == std::string::npos;
  if (!hex || build_id.size() < 3) return;
  struct stat status = {};
  auto fd = open_regular(fmt::format("/usr/lib/debug/.build-id/{}/{}.debug", build_id.substr(0, 2),
                                     build_id.substr(2)),
                         status);
  if (fd != nullptr) {
    module.debug = ElfFile::parse(reader_of(std::move(fd)), static_cast<u64>(status.st_size));
  }
}

void open_by_path(Module& module, const model::RegularFile& file) {
  struct stat status = {};
  auto fd = open_regular(file.path, status);
  if (fd == nullptr) {
    module.note = "cannot be opened";
  } else if (!is_same(file.identity, fd->get(), status)) {
    module.note = "has changed since the checkpoint";
  } else {
    module.read = reader_of(std::move(fd));
    module.elf = ElfFile::parse(module.read, static_cast<u64>(status.st_size));
    if (module.elf) open_debug_file(module, file.identity.build_id);
  }
}

// Where the image itself holds the bytes of a mapped thing, and its name.
struct Carried {
  std::string name;
  std::optional<model::SpaceIndex> space;
  u64 size = 0;
};

Carried carried_by(const model::Resource& resource) {
  if (const auto* file = std::get_if<model::RegularFile>(&resource)) {
    return {file->path, file->content, file->identity.size};
  }
  if (const auto* memory = std::get_if<model::Memfd>(&resource)) {
    return {"memfd:" + memory->name, memory->content, memory->size};
  }
  if (const auto* memory = std::get_if<model::SharedMemory>(&resource)) {
    return {"shared memory", memory->content, memory->size};
  }
  return {};
}

}  // namespace

Module* Modules::of(const model::Vma& vma) {
  const bool vdso = vma.kind == model::VmaKind::kVdso;
  if (!vdso && (!vma.resource || *vma.resource >= image_.resources.size())) return nullptr;
  auto& slot = modules_[vdso ? kVdsoKey : *vma.resource];
  if (slot == nullptr) slot = vdso ? open_vdso() : open(*vma.resource);
  return slot.get();
}

std::unique_ptr<Module> Modules::open_vdso() {
  auto module = std::make_unique<Module>();
  module->name = "[vdso]";
  const Bytes& bytes = image_.origin.vdso;
  module->read = [&bytes](u64 offset, ByteSpan out) {
    if (offset > bytes.size() || out.size() > bytes.size() - offset) return false;
    std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(offset), out.size(), out.begin());
    return true;
  };
  module->elf = ElfFile::parse(module->read, bytes.size());
  return module;
}

std::unique_ptr<Module> Modules::open(model::ResourceIndex index) {
  auto module = std::make_unique<Module>();
  const model::Resource& resource = image_.resources[index];
  const Carried carried = carried_by(resource);
  module->name = carried.name;
  if (carried.space) {
    const model::SpaceIndex space = *carried.space;
    module->read = [this, space](u64 offset, ByteSpan out) {
      return read_space(space, offset, out);
    };
    module->elf = ElfFile::parse(module->read, carried.size);
  } else if (const auto* file = std::get_if<model::RegularFile>(&resource)) {
    open_by_path(*module, *file);
  }
  return module;
}

Stretch stretch_at(const model::Space& space, u64 offset) {
  const auto after =
      std::upper_bound(space.runs.begin(), space.runs.end(), offset,
                       [](u64 at, const model::Run& run) { return at < run.offset; });
  if (after != space.runs.begin()) {
    const model::Run& run = *std::prev(after);
    if (offset - run.offset < run.length) return {.run = &run, .end = run.offset + run.length};
  }
  return {.run = nullptr,
          .end = after == space.runs.end() ? std::numeric_limits<u64>::max() : after->offset};
}

bool Modules::read_space(model::SpaceIndex index, u64 offset, ByteSpan out) const {
  if (index >= image_.spaces.size()) return false;
  const model::Space& space = image_.spaces[index];
  while (!out.empty()) {
    const Stretch stretch = stretch_at(space, offset);
    if (stretch.end <= offset) return false;
    const size_t length = std::min<u64>(out.size(), stretch.end - offset);
    const ByteSpan piece = out.first(length);
    if (stretch.run == nullptr || stretch.run->kind == model::RunKind::kZero) {
      std::fill(piece.begin(), piece.end(), std::byte{0});
    } else {
      // Page sources deal in whole pages.
      const u64 first = page_down(offset);
      Bytes pages(page_up(offset + length) - first);
      const model::Run wanted{.offset = first, .length = pages.size()};
      if (!pages_.read(index, std::span(&wanted, 1), pages)) return false;
      std::copy_n(pages.begin() + static_cast<std::ptrdiff_t>(offset - first), length,
                  piece.begin());
    }
    offset += length;
    out = out.subspan(length);
  }
  return true;
}

}  // namespace stasis::cli
