// The files that a saved process had mapped, opened again for looking at: their bytes where the
// image does not hold them, and their symbols. A file that changed since is not used (build-id, or
// size and time where there is none): wrong names are worse than none.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "backtrace/elf_file.h"
#include "model/image.h"
#include "model/page_source.h"

namespace stasis::cli {

// Bytes of a mapped thing, and what they mean if it is an ELF file.
struct Module {
  std::string name;
  std::string note;      // why it could not be used; empty when it can
  ElfFile::Reader read;  // empty when it cannot be used
  std::optional<ElfFile> elf;
  std::optional<ElfFile> debug;  // /usr/lib/debug/.build-id/..., for more names
};

class Modules {
 public:
  // What is behind the references must outlive this; `pages` reads the image's spaces.
  Modules(const model::Image& image, model::PageSource& pages) : image_(image), pages_(pages) {}

  // The module behind an area: a file, carried content, or the vdso. nullptr for anonymous memory.
  Module* of(const model::Vma& vma);
  [[nodiscard]] const std::map<u64, std::unique_ptr<Module>>& all() const { return modules_; }
  [[nodiscard]] const model::Image& image() const { return image_; }

  // Reads [offset, offset + out.size()) of a space: its runs, zeros between them. False when the
  // image does not hold such a space or cannot be read.
  bool read_space(model::SpaceIndex space, u64 offset, ByteSpan out) const;

 private:
  std::unique_ptr<Module> open(model::ResourceIndex index);
  std::unique_ptr<Module> open_vdso();

  const model::Image& image_;
  model::PageSource& pages_;
  std::map<u64, std::unique_ptr<Module>> modules_;  // by resource; the vdso by ~0
};

// The stretch around `offset` in which a space is uniform: one run, or one gap.
struct Stretch {
  const model::Run* run = nullptr;  // nullptr: a gap
  u64 end = 0;                      // where it ends
};
Stretch stretch_at(const model::Space& space, u64 offset);

}  // namespace stasis::cli
