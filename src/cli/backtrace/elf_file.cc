// Reading headers and symbol tables.
#include "backtrace/elf_file.h"

#include <elf.h>

#include <algorithm>
#include <bit>
#include <cstring>

namespace stasis::cli {
namespace {

constexpr u64 kMostProgramHeaders = 1024;
constexpr u64 kMostSections = 1 << 16;
constexpr u64 kMostTableBytes = 512ULL << 20;

}  // namespace

template <class T>
bool ElfFile::read_at(u64 offset, T& out) const {
  if (offset > size_ || sizeof(T) > size_ - offset) return false;
  return read_(offset, std::as_writable_bytes(std::span(&out, 1)));
}

template <class T>
bool ElfFile::read_table(u64 offset, u64 count, std::vector<T>& out) const {
  if (count > kMostTableBytes / sizeof(T)) return false;
  if (offset > size_ || count * sizeof(T) > size_ - offset) return false;
  out.resize(count);
  return read_(offset, std::as_writable_bytes(std::span(out)));
}

std::optional<ElfFile> ElfFile::parse(Reader read, u64 size) {
  ElfFile file;
  file.read_ = std::move(read);
  file.size_ = size;
  if (!file.parse_headers()) return std::nullopt;
  return file;
}

bool ElfFile::parse_headers() {
  constexpr u8 kOurOrder = std::endian::native == std::endian::little ? ELFDATA2LSB : ELFDATA2MSB;
  Elf64_Ehdr header = {};
  if (!read_at(0, header) || std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) return false;
  if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != kOurOrder) return false;
  if (header.e_phentsize != sizeof(Elf64_Phdr) || header.e_phnum > kMostProgramHeaders)
    return false;
  std::vector<Elf64_Phdr> headers;
  if (!read_table(header.e_phoff, header.e_phnum, headers)) return false;
  for (const Elf64_Phdr& entry : headers) {
    if (entry.p_type == PT_LOAD) {
      segments_.push_back({.address = entry.p_vaddr,
                           .offset = entry.p_offset,
                           .file_size = entry.p_filesz,
                           .memory_size = entry.p_memsz,
                           .executable = (entry.p_flags & PF_X) != 0});
    } else if (entry.p_type == PT_GNU_EH_FRAME) {
      eh_frame_header_ = Range{.address = entry.p_vaddr, .size = entry.p_memsz};
    }
  }
  if (header.e_shentsize == sizeof(Elf64_Shdr)) {
    sections_at_ = header.e_shoff;
    section_count_ = header.e_shnum;
  }
  return true;
}

std::optional<u64> ElfFile::bias(u64 address, u64 file_offset, bool executable) const {
  const Segment* best = nullptr;
  int best_rank = 0;
  for (const Segment& segment : segments_) {
    const u64 first = page_down(segment.offset);
    if (file_offset < first || file_offset - first >= segment.file_size + kPageSize) continue;
    // Two segments may share a page of the file; prefer the one that begins here, then the one
    // with the same permission.
    const int rank =
        1 + (first == file_offset ? 2 : 0) + (segment.executable == executable ? 1 : 0);
    if (rank > best_rank) {
      best = &segment;
      best_rank = rank;
    }
  }
  if (best == nullptr) return std::nullopt;
  return address - (page_down(best->address) + (file_offset - page_down(best->offset)));
}

void ElfFile::load_symbols() {
  if (symbols_loaded_) return;
  symbols_loaded_ = true;
  std::vector<Elf64_Shdr> sections;
  if (section_count_ > kMostSections || !read_table(sections_at_, section_count_, sections)) return;
  // .symtab has all of .dynsym; a stripped file has .dynsym alone.
  for (const u32 wanted : {SHT_SYMTAB, SHT_DYNSYM}) {
    for (const Elf64_Shdr& section : sections) {
      if (section.sh_type != wanted || section.sh_link >= sections.size()) continue;
      const Elf64_Shdr& strings = sections[section.sh_link];
      std::vector<Elf64_Sym> table;
      if (!read_table(section.sh_offset, section.sh_size / sizeof(Elf64_Sym), table)) continue;
      if (!read_table(strings.sh_offset, strings.sh_size, names_)) continue;
      for (const Elf64_Sym& entry : table) {
        const u32 type = ELF64_ST_TYPE(entry.st_info);
        const bool code = type == STT_FUNC || type == STT_GNU_IFUNC || type == STT_NOTYPE;
        if (!code || entry.st_shndx == SHN_UNDEF || entry.st_name >= names_.size()) continue;
        if (entry.st_name == 0) continue;
        symbols_.push_back(
            {.address = entry.st_value, .size = entry.st_size, .name = entry.st_name});
      }
      if (!symbols_.empty()) {
        std::sort(symbols_.begin(), symbols_.end(), [](const Symbol& a, const Symbol& b) {
          return std::pair(a.address, a.size) < std::pair(b.address, b.size);
        });
        return;
      }
    }
  }
}

const ElfFile::Symbol* ElfFile::symbol_at(u64 address) {
  constexpr int kLookBack = 16;  // symbols may nest; not deeper than this in practice
  load_symbols();
  auto after = std::upper_bound(symbols_.begin(), symbols_.end(), address,
                                [](u64 a, const Symbol& symbol) { return a < symbol.address; });
  for (int back = 0; after != symbols_.begin() && back < kLookBack; ++back) {
    const Symbol& symbol = *--after;
    if (address - symbol.address < symbol.size) return &symbol;
    if (symbol.size == 0 && back == 0) return &symbol;  // hand-written code without a size
  }
  return nullptr;
}

std::string_view ElfFile::name_of(const Symbol& symbol) const {
  if (symbol.name >= names_.size()) return {};
  const char* start = names_.data() + symbol.name;
  return {start, ::strnlen(start, names_.size() - symbol.name)};
}

}  // namespace stasis::cli
