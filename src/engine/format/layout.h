// The fixed parts of a context file (docs/format.md): header, index entry, footer, to bytes and
// back. Decoding checks magic, hash and what the part alone can tell; agreement between the parts
// is open_image's.
#pragma once

#include <cstring>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/types.h"

namespace stasis::format {

inline constexpr u64 kHeaderBytes = 64;
inline constexpr u64 kFooterBytes = 96;
inline constexpr u64 kIndexEntryBytes = 16;
inline constexpr u32 kVersion = 1;
inline constexpr u64 kMaxFrameBytes = u64{4} << 20;  // of contents; what a reader accepts
inline constexpr u64 kFrameBytes = u64{512} << 10;   // what the writer makes
inline constexpr u32 kCompressionNone = 0;
inline constexpr u32 kCompressionZstd = 1;

// Little-endian integers at a position that the caller has checked. Files are little endian, and so
// is every machine we build for (layout.cc asserts it).
inline u64 get64(ByteView bytes, size_t at) {
  u64 value = 0;
  std::memcpy(&value, bytes.data() + at, sizeof(value));
  return value;
}
inline u32 get32(ByteView bytes, size_t at) {
  u32 value = 0;
  std::memcpy(&value, bytes.data() + at, sizeof(value));
  return value;
}

struct Header {
  u32 compression = kCompressionNone;
  u32 page_size = 0;
  std::string architecture;
};

struct FrameEntry {
  u32 stored = 0;  // bytes in the file
  u32 length = 0;  // bytes of the stream
  u64 hash = 0;    // of the stored bytes
};

struct Footer {
  u64 manifest_at = 0, manifest_stored = 0, manifest_length = 0, manifest_hash = 0;
  u64 index_at = 0, frames = 0, index_hash = 0;
  u64 data_at = 0, file_bytes = 0, header_hash = 0;
};

Bytes encode(const Header& header);
Bytes encode(const std::vector<FrameEntry>& index);
Bytes encode(const Footer& footer);

// EINVAL: not a context file, or of a version, compression or flags that we do not know. EIO:
// damaged.
Result<Header> decode_header(ByteView bytes);
// `bytes` is a whole number of entries.
std::vector<FrameEntry> decode_index(ByteView bytes);
// EIO: truncated (no end magic) or damaged. `at` is its position, for the message.
Result<Footer> decode_footer(ByteView bytes, u64 at);

}  // namespace stasis::format
