// Header, index and footer as bytes.
#include "format/layout.h"

#include <fmt/format.h>

#include <array>
#include <bit>
#include <cerrno>

#include "format/hash.h"

namespace stasis::format {
namespace {

static_assert(std::endian::native == std::endian::little);

constexpr std::string_view kMagic{"STASIS\r\n", 8};
constexpr std::string_view kEndMagic{"ENDSTAS\n", 8};
constexpr size_t kArchitectureAt = 24, kArchitectureBytes = 32, kHeaderHashAt = 56;
constexpr size_t kFooterHashAt = 80;

void put(Bytes& out, const void* data, size_t size) {
  const auto* bytes = static_cast<const std::byte*>(data);
  out.insert(out.end(), bytes, bytes + size);
}
void put32(Bytes& out, u32 value) {
  put(out, &value, sizeof(value));
}
void put64(Bytes& out, u64 value) {
  put(out, &value, sizeof(value));
}

bool has_text(ByteView bytes, size_t at, std::string_view text) {
  return std::memcmp(bytes.data() + at, text.data(), text.size()) == 0;
}

}  // namespace

Bytes encode(const Header& header) {
  Bytes out;
  put(out, kMagic.data(), kMagic.size());
  put32(out, kVersion);
  put32(out, header.compression);
  put32(out, header.page_size);
  put32(out, 0);  // flags
  std::array<char, kArchitectureBytes> name{};
  header.architecture.copy(name.data(), name.size());
  put(out, name.data(), name.size());
  put64(out, hash_bytes(out));
  return out;
}

Result<Header> decode_header(ByteView bytes) {
  if (!has_text(bytes, 0, kMagic)) {
    return fail(EINVAL, "not a context file: it does not begin with the magic of one");
  }
  const u32 version = get32(bytes, 8);
  if (version != kVersion) {
    return fail(EINVAL, fmt::format("a context file of version {}; this program reads version {}",
                                    version, kVersion));
  }
  if (get64(bytes, kHeaderHashAt) != hash_bytes(bytes.first(kHeaderHashAt))) {
    return fail(EIO, "the header (at offset 0) is damaged: its checksum does not match");
  }
  Header header;
  header.compression = get32(bytes, 12);
  header.page_size = get32(bytes, 16);
  if (header.compression > kCompressionZstd) {
    return fail(EINVAL, fmt::format("unknown compression {}", header.compression));
  }
  if (get32(bytes, 20) != 0) return fail(EINVAL, "the header has flags that are not known");
  for (size_t i = 0; i < kArchitectureBytes; ++i) {
    const char c = static_cast<char>(bytes[kArchitectureAt + i]);
    if (c == 0) break;
    header.architecture += c > ' ' && c <= '~' ? c : '?';
  }
  return header;
}

Bytes encode(const std::vector<FrameEntry>& index) {
  Bytes out;
  out.reserve(index.size() * kIndexEntryBytes);
  for (const FrameEntry& each : index) {
    put32(out, each.stored);
    put32(out, each.length);
    put64(out, each.hash);
  }
  return out;
}

std::vector<FrameEntry> decode_index(ByteView bytes) {
  std::vector<FrameEntry> index(bytes.size() / kIndexEntryBytes);
  for (size_t i = 0; i < index.size(); ++i) {
    const size_t at = i * kIndexEntryBytes;
    index[i] = {get32(bytes, at), get32(bytes, at + 4), get64(bytes, at + 8)};
  }
  return index;
}

Bytes encode(const Footer& f) {
  Bytes out;
  for (const u64 each :
       {f.manifest_at, f.manifest_stored, f.manifest_length, f.manifest_hash, f.index_at, f.frames,
        f.index_hash, f.data_at, f.file_bytes, f.header_hash}) {
    put64(out, each);
  }
  put64(out, hash_bytes(out));
  put(out, kEndMagic.data(), kEndMagic.size());
  return out;
}

Result<Footer> decode_footer(ByteView bytes, u64 at) {
  if (!has_text(bytes, kFooterBytes - kEndMagic.size(), kEndMagic)) {
    return fail(
        EIO, fmt::format("truncated or damaged: no end mark before offset {}", at + kFooterBytes));
  }
  if (get64(bytes, kFooterHashAt) != hash_bytes(bytes.first(kFooterHashAt))) {
    return fail(
        EIO, fmt::format("the footer (at offset {}) is damaged: its checksum does not match", at));
  }
  Footer f;
  size_t next = 0;
  for (u64* each :
       {&f.manifest_at, &f.manifest_stored, &f.manifest_length, &f.manifest_hash, &f.index_at,
        &f.frames, &f.index_hash, &f.data_at, &f.file_bytes, &f.header_hash}) {
    *each = get64(bytes, next);
    next += sizeof(u64);
  }
  return f;
}

}  // namespace stasis::format
