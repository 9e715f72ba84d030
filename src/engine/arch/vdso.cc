// Reading the vdso's dynamic symbols (ELF-64), and jumps of x86_64.
#include "arch/vdso.h"

#include <elf.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>

namespace stasis::arch {
namespace {

template <class T>
std::optional<T> object_at(ByteView bytes, u64 offset) {
  if (offset > bytes.size() || bytes.size() - offset < sizeof(T)) return std::nullopt;
  T object;
  std::memcpy(&object, bytes.data() + offset, sizeof object);
  return object;
}

// Where the loader would find things; addresses in the vdso are offsets from its start.
struct Tables {
  u64 symbols = 0, strings = 0, strings_size = 0, hash = 0, gnu_hash = 0;
};

std::optional<Tables> find_tables(ByteView vdso) {
  const auto header = object_at<Elf64_Ehdr>(vdso, 0);
  if (!header || std::memcmp(header->e_ident, ELFMAG, SELFMAG) != 0) return std::nullopt;
  Tables tables;
  for (u64 i = 0; i < header->e_phnum; ++i) {
    const auto part = object_at<Elf64_Phdr>(vdso, header->e_phoff + i * sizeof(Elf64_Phdr));
    if (!part) return std::nullopt;
    if (part->p_type != PT_DYNAMIC) continue;
    for (u64 at = part->p_offset;; at += sizeof(Elf64_Dyn)) {
      const auto entry = object_at<Elf64_Dyn>(vdso, at);
      if (!entry) return std::nullopt;
      if (entry->d_tag == DT_NULL) break;
      if (entry->d_tag == DT_SYMTAB) tables.symbols = entry->d_un.d_ptr;
      if (entry->d_tag == DT_STRTAB) tables.strings = entry->d_un.d_ptr;
      if (entry->d_tag == DT_STRSZ) tables.strings_size = entry->d_un.d_val;
      if (entry->d_tag == DT_HASH) tables.hash = entry->d_un.d_ptr;
      if (entry->d_tag == DT_GNU_HASH) tables.gnu_hash = entry->d_un.d_ptr;
    }
  }
  if (tables.symbols == 0 || tables.strings == 0) return std::nullopt;
  return tables;
}

// Number of symbols by the GNU hash table: one behind the end of its longest chain.
u64 count_by_gnu_hash(ByteView vdso, u64 table) {
  const auto head = object_at<std::array<u32, 4>>(vdso, table);  // buckets, first, bloom words, -
  if (!head) return 0;
  const auto [buckets, first, bloom, shift] = *head;
  const u64 bucket_table = table + sizeof *head + u64{bloom} * 8;
  u64 last = 0;
  for (u64 i = 0; i < buckets; ++i) {
    const auto bucket = object_at<u32>(vdso, bucket_table + i * 4);
    if (!bucket) return 0;
    last = std::max<u64>(last, *bucket);
  }
  if (last < first) return 0;
  const u64 chains = bucket_table + u64{buckets} * 4;
  while (true) {
    const auto link = object_at<u32>(vdso, chains + (last - first) * 4);
    if (!link) return 0;
    ++last;
    if ((*link & 1) != 0) return last;
  }
}

u64 count_symbols(ByteView vdso, const Tables& tables) {
  if (tables.hash != 0) {
    const auto head = object_at<std::array<u32, 2>>(vdso, tables.hash);
    return head ? (*head)[1] : 0;
  }
  return tables.gnu_hash != 0 ? count_by_gnu_hash(vdso, tables.gnu_hash) : 0;
}

std::string string_at(ByteView vdso, const Tables& tables, u64 offset) {
  std::string text;
  for (u64 at = tables.strings + offset; offset < tables.strings_size; ++at, ++offset) {
    const auto letter = object_at<char>(vdso, at);
    if (!letter || *letter == '\0') break;
    text += *letter;
  }
  return text;
}

// jmp *0(%rip) and the address behind it: reaches everywhere and touches no register.
constexpr u64 kJumpLength = 14;
std::array<std::byte, kJumpLength> jump_to(RemoteAddr target) {
  std::array<std::byte, kJumpLength> code = {std::byte{0xff}, std::byte{0x25}};
  std::memcpy(&code[6], &target.value, sizeof target.value);
  return code;
}

}  // namespace

Result<std::vector<VdsoSymbol>> vdso_symbols(ByteView vdso) {
  const auto tables = find_tables(vdso);
  if (!tables) return fail(EINVAL, "the vdso has no dynamic symbols");
  const u64 count = count_symbols(vdso, *tables);
  std::vector<VdsoSymbol> symbols;
  for (u64 i = 1; i < count; ++i) {
    const auto symbol = object_at<Elf64_Sym>(vdso, tables->symbols + i * sizeof(Elf64_Sym));
    if (!symbol) return fail(EINVAL, "the vdso's symbols lie outside of it");
    if (ELF64_ST_TYPE(symbol->st_info) != STT_FUNC || symbol->st_shndx == SHN_UNDEF) continue;
    if (symbol->st_value >= vdso.size()) return fail(EINVAL, "a vdso function lies outside of it");
    symbols.push_back({string_at(vdso, *tables, symbol->st_name), symbol->st_value});
  }
  std::sort(symbols.begin(), symbols.end(), [](const VdsoSymbol& a, const VdsoSymbol& b) {
    return std::tie(a.offset, a.name) < std::tie(b.offset, b.name);
  });
  return symbols;
}

Result<Bytes> redirect_vdso(ByteView old_vdso, ByteView new_vdso, RemoteAddr home) {
  const std::vector<VdsoSymbol> old_symbols = TRY(vdso_symbols(old_vdso));
  std::map<std::string, u64> new_offsets;
  for (const VdsoSymbol& symbol : TRY(vdso_symbols(new_vdso))) {
    new_offsets.emplace(symbol.name, symbol.offset);
  }
  Bytes result(old_vdso.begin(), old_vdso.end());
  u64 free_from = 0;
  u64 previous = ~u64{0};
  for (const VdsoSymbol& symbol : old_symbols) {
    if (symbol.offset == previous) continue;  // another name of the same function
    const auto found = new_offsets.find(symbol.name);
    if (found == new_offsets.end()) {
      return fail(ENOTSUP, fmt::format("this kernel's vdso has no {}", symbol.name));
    }
    if (symbol.offset < free_from || symbol.offset + kJumpLength > result.size()) {
      return fail(ENOTSUP, fmt::format("no room to redirect the vdso's {}", symbol.name));
    }
    const auto jump = jump_to(home + found->second);
    std::copy(jump.begin(), jump.end(), result.begin() + static_cast<i64>(symbol.offset));
    previous = symbol.offset;
    free_from = symbol.offset + kJumpLength;
  }
  return result;
}

}  // namespace stasis::arch
