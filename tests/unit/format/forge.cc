// The writer's steps apart, so that a test can do one of them wrongly.
#include "forge.h"

#include <zstd.h>

#include <nlohmann/json.hpp>

#include "format/hash.h"
#include "model/json.h"
#include "support.h"

namespace stasis::format {

Bytes compressed(ByteView contents) {
  Bytes out(ZSTD_compressBound(contents.size()));
  out.resize(ZSTD_compress(out.data(), out.size(), contents.data(), contents.size(), 3));
  return out;
}

Bytes bytes_from(const std::vector<u8>& values) {
  const auto view = std::as_bytes(std::span(values));
  return {view.begin(), view.end()};
}

Forgery::Forgery() : Forgery(one_area(1)) {
  frames.push_back({compressed(Bytes(kPageSize, std::byte{7})), kPageSize});
}

Forgery::Forgery(const model::Image& image) : header{kCompressionZstd, kPageSize, machine()} {
  set_manifest(model::to_json(image, model::JsonStyle::kMachine));
}

void Forgery::set_manifest(const nlohmann::json& json) {
  set_cbor(bytes_from(nlohmann::json::to_cbor(json)));
}

void Forgery::set_cbor(ByteView cbor) {
  manifest = compressed(cbor);
  manifest_length = cbor.size();
}

std::vector<FrameEntry> Forgery::index() const {
  std::vector<FrameEntry> out;
  for (const ForgedFrame& each : frames) {
    out.push_back({static_cast<u32>(each.stored.size()), each.length, hash_bytes(each.stored)});
  }
  return out;
}

Footer Forgery::footer() const {
  Footer f;
  f.data_at = header.compression == kCompressionNone ? kPageSize : kHeaderBytes;
  f.manifest_at = f.data_at;
  for (const ForgedFrame& each : frames) f.manifest_at += each.stored.size();
  f.manifest_stored = manifest.size();
  f.manifest_length = manifest_length;
  f.manifest_hash = hash_bytes(manifest);
  f.index_at = f.manifest_at + manifest.size();
  f.frames = frames.size();
  f.index_hash = hash_bytes(encode(index()));
  f.file_bytes = f.index_at + f.frames * kIndexEntryBytes + kFooterBytes;
  f.header_hash = hash_bytes(encode(header));
  return f;
}

Bytes Forgery::bytes(const Footer& footer) const {
  Bytes out = encode(header);
  const auto add = [&](const Bytes& part) { out.insert(out.end(), part.begin(), part.end()); };
  if (header.compression == kCompressionNone) out.resize(kPageSize);
  for (const ForgedFrame& each : frames) add(each.stored);
  add(manifest);
  add(encode(index()));
  add(encode(footer));
  return out;
}

}  // namespace stasis::format
