// The GNU build-id of an ELF file, read with pread: the surest sign that a program or library on
// disk is the one that was mapped. A file that is not what it claims to be simply has none.
#include <elf.h>
#include <fmt/format.h>

#include <array>
#include <cstring>

#include "base/sys.h"
#include "resource/handler.h"

namespace stasis::resource {
namespace {

constexpr u64 kMaxNotes = 64 * 1024;  // bytes of one PT_NOTE segment that are looked at
constexpr u64 kMaxHeaders = 256;      // program headers

template <class T>
bool read_object(int fd, u64 offset, T& object) {
  const auto got = sys::pread_full(fd, std::as_writable_bytes(std::span(&object, 1)), offset);
  return got.ok() && *got == sizeof(T);
}

// The descriptor of the build-id note inside a note segment, in hex.
std::string find_note(ByteView notes, u64 alignment) {
  const auto align = [&](u64 n) { return (n + alignment - 1) & ~(alignment - 1); };
  u64 at = 0;
  while (at + sizeof(Elf64_Nhdr) <= notes.size()) {
    Elf64_Nhdr header;  // the same in 32 and 64 bits
    std::memcpy(&header, notes.data() + at, sizeof header);
    const u64 name = at + sizeof header;
    const u64 content = at + align(sizeof header + header.n_namesz);
    if (content + header.n_descsz > notes.size()) return {};
    if (header.n_type == NT_GNU_BUILD_ID && header.n_namesz == 4 &&
        std::memcmp(notes.data() + name, "GNU", 4) == 0) {
      std::string hex;
      for (const std::byte b : notes.subspan(content, header.n_descsz)) {
        hex += fmt::format("{:02x}", static_cast<unsigned>(b));
      }
      return hex;
    }
    at = align(content + header.n_descsz);
  }
  return {};
}

template <class Ehdr, class Phdr>
std::string search(int fd) {
  Ehdr header;
  if (!read_object(fd, 0, header) || header.e_phentsize != sizeof(Phdr)) return {};
  for (u64 i = 0; i < header.e_phnum && i < kMaxHeaders; ++i) {
    Phdr segment;
    if (!read_object(fd, header.e_phoff + i * sizeof segment, segment)) return {};
    if (segment.p_type != PT_NOTE || segment.p_filesz > kMaxNotes) continue;
    Bytes notes(segment.p_filesz);
    const auto got = sys::pread_full(fd, notes, segment.p_offset);
    if (!got || *got != notes.size()) continue;
    std::string id = find_note(notes, segment.p_align == 8 ? 8 : 4);
    if (!id.empty()) return id;
  }
  return {};
}

}  // namespace

std::string read_build_id(int fd) {
  std::array<unsigned char, EI_NIDENT> ident = {};
  if (!read_object(fd, 0, ident)) return {};
  if (std::memcmp(ident.data(), ELFMAG, SELFMAG) != 0) return {};
  if (ident[EI_CLASS] == ELFCLASS64) return search<Elf64_Ehdr, Elf64_Phdr>(fd);
  if (ident[EI_CLASS] == ELFCLASS32) return search<Elf32_Ehdr, Elf32_Phdr>(fd);
  return {};
}

}  // namespace stasis::resource
