// Manifests: model to JSON value to CBOR to zstd, and back under a bound on memory.
#include "format/manifest.h"

#include <fmt/format.h>
#include <zstd.h>

#include <cerrno>
#include <nlohmann/json.hpp>

#include "format/cbor.h"
#include "format/layout.h"
#include "model/json.h"

namespace stasis::format {
namespace {

constexpr u64 kMaxLength = u64{1} << 30;
constexpr u64 kFreeBudget = u64{16} << 20;
constexpr u64 kBudgetFactor = 256;
constexpr u32 kSkippableMagic = 0x184D2A50;
constexpr u64 kSkippableHead = 8;
constexpr int kLevel = 6;  // small and once; the pages decide the time

u64 budget_of(u64 stored_bytes) {
  return kFreeBudget + kBudgetFactor * stored_bytes;
}

// Makes `stored` large enough that its budget covers `cost`, by a zstd frame that decoders skip.
void pad(Bytes& stored, u64 cost) {
  if (cost <= budget_of(stored.size())) return;
  const u64 missing = (cost - budget_of(stored.size())) / kBudgetFactor + 1;
  const auto size = static_cast<u32>(missing);
  std::byte head[kSkippableHead];
  std::memcpy(head, &kSkippableMagic, sizeof(u32));
  std::memcpy(head + sizeof(u32), &size, sizeof(u32));
  stored.insert(stored.end(), head, head + kSkippableHead);
  stored.resize(stored.size() + size);
}

Error damaged(std::string_view why) {
  return fail(EIO, fmt::format("the manifest is damaged: {}", why));
}

bool is_padding(ByteView rest) {
  if (rest.empty()) return true;
  return rest.size() >= kSkippableHead && get32(rest, 0) == kSkippableMagic &&
         ZSTD_findFrameCompressedSize(rest.data(), rest.size()) == rest.size();
}

}  // namespace

Result<StoredManifest> encode_manifest(const model::Image& image) {
  const nlohmann::json json = model::to_json(image, model::JsonStyle::kMachine);
  const std::vector<u8> cbor = nlohmann::json::to_cbor(json);
  if (cbor.size() > kMaxLength) return fail(EFBIG, "the image has too many parts for one manifest");
  StoredManifest out;
  out.length = cbor.size();
  out.stored.resize(ZSTD_compressBound(cbor.size()));
  const size_t size =
      ZSTD_compress(out.stored.data(), out.stored.size(), cbor.data(), cbor.size(), kLevel);
  if (ZSTD_isError(size) != 0) return fail(ENOMEM, ZSTD_getErrorName(size));
  out.stored.resize(size);
  pad(out.stored, cbor_cost(json, cbor.size()));
  return out;
}

Result<model::Image> decode_manifest(ByteView stored, u64 length) {
  const u64 budget = budget_of(stored.size());
  if (length > budget || length > kMaxLength) return damaged("it promises too much");
  const size_t frame = ZSTD_findFrameCompressedSize(stored.data(), stored.size());
  if (ZSTD_isError(frame) != 0 ||
      ZSTD_getFrameContentSize(stored.data(), stored.size()) != length ||
      !is_padding(stored.subspan(frame))) {
    return damaged("it is not one zstd frame of the promised size");
  }
  Bytes cbor(length);
  const size_t got = ZSTD_decompress(cbor.data(), cbor.size(), stored.data(), frame);
  if (ZSTD_isError(got) != 0) return damaged(ZSTD_getErrorName(got));
  if (got != length) return damaged("it is shorter than promised");
  auto json = read_cbor(cbor, budget);
  if (!json) return std::move(json).context("manifest").take_error();
  Bytes().swap(cbor);
  return model::image_from_json(*json).context("manifest");
}

}  // namespace stasis::format
