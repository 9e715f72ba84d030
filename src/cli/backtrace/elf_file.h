// An ELF file as a stack walk needs it: where its segments lie, its .eh_frame_hdr, its function
// names. 64-bit files of this machine's byte order only. The bytes may be hostile (an image can
// carry files): every offset and size is checked, tables are bounded.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/types.h"

namespace stasis::cli {

class ElfFile {
 public:
  // Fills `out` with the file's bytes from `offset`; false when they are not all there.
  using Reader = std::function<bool(u64 offset, ByteSpan out)>;

  struct Segment {
    u64 address = 0;  // as linked
    u64 offset = 0;   // in the file
    u64 file_size = 0, memory_size = 0;
    bool executable = false;
  };
  struct Symbol {
    u64 address = 0;  // as linked
    u64 size = 0;
    u64 name = 0;  // into the names
  };
  struct Range {
    u64 address = 0, size = 0;
  };

  // nullopt when it is no ELF file that we understand.
  static std::optional<ElfFile> parse(Reader read, u64 size);

  [[nodiscard]] const std::vector<Segment>& segments() const { return segments_; }
  [[nodiscard]] std::optional<Range> eh_frame_header() const { return eh_frame_header_; }

  // What was added to the linked addresses, given that `file_offset` is mapped at `address`.
  [[nodiscard]] std::optional<u64> bias(u64 address, u64 file_offset, bool executable) const;

  // The function that contains a linked address; nullptr if no symbol does.
  const Symbol* symbol_at(u64 address);
  [[nodiscard]] std::string_view name_of(const Symbol& symbol) const;
  [[nodiscard]] bool has_symbols() { return load_symbols(), !symbols_.empty(); }

 private:
  ElfFile() = default;
  bool parse_headers();
  void load_symbols();
  template <class T>
  bool read_at(u64 offset, T& out) const;
  template <class T>
  bool read_table(u64 offset, u64 count, std::vector<T>& out) const;

  Reader read_;
  u64 size_ = 0;
  u64 sections_at_ = 0, section_count_ = 0;
  std::vector<Segment> segments_;
  std::optional<Range> eh_frame_header_;
  bool symbols_loaded_ = false;
  std::vector<Symbol> symbols_;  // ascending by address
  std::vector<char> names_;
};

}  // namespace stasis::cli
