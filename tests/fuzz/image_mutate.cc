// Context files are covered by hashes, behind which no fuzzer comes that flips bytes. So a file is
// taken apart, one part of it changes, and it is put together again with lengths, positions and
// hashes that are right, but for the one that was to be wrong.
#include <zstd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

#include "forge.h"
#include "format/hash.h"
#include "mutate.h"
#include "support.h"
#include "target.h"

namespace stasis::fuzz {
namespace {

using format::Footer;
using format::Forgery;

constexpr size_t kMostCbor = size_t{256} << 10;

Bytes part_of(ByteView file, u64 at, u64 length) {
  if (at > file.size() || length > file.size() - at) return {};
  const ByteView part = file.subspan(at, length);
  return {part.begin(), part.end()};
}

std::optional<Forgery> taken_apart(ByteView file) {
  if (file.size() < format::kHeaderBytes + format::kFooterBytes) return std::nullopt;
  const u64 footer_at = file.size() - format::kFooterBytes;
  const auto header = format::decode_header(file);
  const auto footer = format::decode_footer(file.subspan(footer_at), footer_at);
  if (!header || !footer || footer->frames > 64) return std::nullopt;
  Forgery parts;
  parts.header = *header;
  parts.frames.clear();
  u64 at = footer->data_at;
  const Bytes index = part_of(file, footer->index_at, footer->frames * format::kIndexEntryBytes);
  for (const auto& each : format::decode_index(index)) {
    parts.frames.push_back({part_of(file, at, each.stored), each.length});
    at += each.stored;
  }
  parts.manifest = part_of(file, footer->manifest_at, footer->manifest_stored);
  parts.manifest_length = footer->manifest_length;
  return parts;
}

std::optional<Bytes> unpacked(const Bytes& stored, u64 most) {
  const auto size = ZSTD_getFrameContentSize(stored.data(), stored.size());
  if (size > most) return std::nullopt;  // unknown and wrong sizes are large ones
  Bytes out(size);
  const size_t got = ZSTD_decompress(out.data(), out.size(), stored.data(), stored.size());
  return got == size ? std::optional(std::move(out)) : std::nullopt;
}

void change_manifest(Forgery& parts, Random& random) {
  const auto cbor = unpacked(parts.manifest, kMostCbor);
  if (!cbor || one_in(random, 16)) {
    parts.manifest = mutate_bytes(parts.manifest, parts.manifest.size() + 64);
  } else {
    parts.set_cbor(mutate_cbor(*cbor, kMostCbor, random));
  }
}

void change_frame(Forgery& parts, Random& random) {
  if (parts.frames.empty())
    parts.frames.push_back({format::compressed(Bytes(kPageSize)), kPageSize});
  auto& frame = parts.frames[random() % parts.frames.size()];
  switch (random() % 6) {
    case 0:
      frame.stored = mutate_bytes(frame.stored, frame.stored.size() + 64);
      break;
    case 1:
      frame.length += one_in(random, 2) ? kPageSize : -kPageSize;
      break;
    case 2:
      frame = parts.frames[random() % parts.frames.size()];
      break;
    case 3:
      parts.frames.push_back(format::ForgedFrame(frame));
      break;
    case 4:
      std::swap(frame, parts.frames.back());
      parts.frames.pop_back();
      break;
    default:
      if (auto contents = unpacked(frame.stored, u64{1} << 20)) {
        frame.stored = format::compressed(mutate_bytes(*contents, contents->size()));
      }
  }
}

void change_header(Forgery& parts, Random& random) {
  if (one_in(random, 4)) parts.header.page_size = static_cast<u32>(random());
  if (one_in(random, 4)) parts.header.architecture += 'x';
  parts.header.compression = parts.header.compression == 0 ? 1 : 0;
}

void change_footer(Footer& footer, Random& random) {
  std::array<u64*, 10> fields = {
      &footer.manifest_at, &footer.manifest_stored, &footer.manifest_length, &footer.manifest_hash,
      &footer.index_at,    &footer.frames,          &footer.index_hash,      &footer.data_at,
      &footer.file_bytes,  &footer.header_hash};
  u64& field = *fields[random() % fields.size()];
  Bytes bytes(sizeof(u64));
  std::memcpy(bytes.data(), &field, sizeof(u64));
  bytes = mutate_bytes(bytes, sizeof(u64));
  bytes.resize(sizeof(u64));
  std::memcpy(&field, bytes.data(), sizeof(u64));
}

Bytes changed(Forgery parts, Random& random) {
  switch (random() % 8) {
    case 0:
      change_header(parts, random);
      return parts.bytes();
    case 1: {
      Footer footer = parts.footer();
      change_footer(footer, random);
      return parts.bytes(footer);
    }
    case 2:
    case 3:
      change_frame(parts, random);
      return parts.bytes();
    default:
      change_manifest(parts, random);
      return parts.bytes();
  }
}

}  // namespace
}  // namespace stasis::fuzz

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t most,
                                          unsigned int seed) {
  using namespace stasis::fuzz;
  Random random(seed);
  auto parts = taken_apart(view_of(data, size));
  if (!parts || one_in(random, 8)) return LLVMFuzzerMutate(data, size, most);
  const stasis::Bytes out = changed(std::move(*parts), random);
  if (out.size() > most) return LLVMFuzzerMutate(data, size, most);
  std::memcpy(data, out.data(), out.size());
  return out.size();
}
