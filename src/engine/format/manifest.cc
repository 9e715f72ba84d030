// Manifests: model to JSON value to CBOR to zstd, and back under a bound on memory.
#include "format/manifest.h"

#include <fmt/format.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <nlohmann/json.hpp>

#include "format/cbor.h"
#include "format/layout.h"
#include "format/manifest_read.h"
#include "model/json.h"

namespace stasis::format {
namespace {

constexpr u64 kMaxLength = u64{1} << 30;
constexpr u64 kFreeBudget = u64{16} << 20;
constexpr u64 kBudgetFactor = 256;
constexpr u32 kSkippableMagic = 0x184D2A50;
constexpr u64 kSkippableHead = 8;
constexpr u64 kModelFactor = 8;    // of what is built and its CBOR
constexpr int kMaxWindowLog = 23;  // 8 MiB; what kLevel makes is far below
constexpr size_t kBlock = size_t{256} << 10;
constexpr int kLevel = 6;  // small and once; the pages decide the time

u64 budget_of(u64 stored_bytes) {
  return kFreeBudget + kBudgetFactor * stored_bytes;
}

// The most that may be built of `length` bytes of CBOR, however large they are stored.
u64 most_built(u64 length) {
  return kFreeBudget + kModelFactor * length;
}

// What a reader will count for the CBOR: asked of the reader itself, so that an image that it would
// refuse, for whatever reason, is never written. EFBIG where no budget covers it.
Result<u64> cost_of_reading(const std::vector<u8>& cbor) {
  MemoryBudget budget(most_built(cbor.size()));
  const u64 before = budget.left();
  const auto all = [&cbor]() -> Result<ByteView> { return std::as_bytes(std::span(cbor)); };
  CborReader reader(all, cbor.size(), budget);
  auto image = read_image(reader);
  if (image) return before - budget.left();
  return fail(EFBIG, "the image could not be read again: manifest: " + image.error().message());
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

// The CBOR of a manifest, unpacked a block at a time.
class Unpacker {
 public:
  Unpacker(const StoredBytes& read, u64 stored, u64 length)
      : read_(read), stored_(stored), length_(length), context_(ZSTD_createDCtx()) {}

  // Looks at the head of the frame.
  Result<void> start() {
    if (!context_) return fail(ENOMEM, "no memory to unpack the manifest with");
    TRY(refill());
    if (ZSTD_getFrameContentSize(in_.data(), in_.size()) != length_) {
      return damaged("it is not one zstd frame of the promised size");
    }
    const size_t set = ZSTD_DCtx_setParameter(context_.get(), ZSTD_d_windowLogMax, kMaxWindowLog);
    return ZSTD_isError(set) == 0 ? Result<void>() : damaged(ZSTD_getErrorName(set));
  }

  // Empty at the end.
  Result<ByteView> next() {
    ZSTD_outBuffer out{out_.data(), out_.size(), 0};
    while (out.pos == 0 && !ended_) {
      if (in_at_ == in_.size()) TRY(refill());
      ZSTD_inBuffer in{in_.data(), in_.size(), in_at_};
      const size_t left = ZSTD_decompressStream(context_.get(), &out, &in);
      if (ZSTD_isError(left) != 0) return damaged(ZSTD_getErrorName(left));
      in_at_ = in.pos;
      ended_ = left == 0;
    }
    unpacked_ += out.pos;
    return ByteView(out_).first(out.pos);
  }

  // When all that was promised has been taken: nothing but padding may follow.
  Result<void> finish() {
    if (!TRY(next()).empty() || unpacked_ != length_) return damaged("it is not of its length");
    const u64 rest_at = read_bytes_ - in_.size() + in_at_;
    if (rest_at == stored_) return {};
    std::array<std::byte, kSkippableHead> head;
    if (stored_ - rest_at < head.size()) return damaged("bytes behind its end");
    TRY(read_(rest_at, head));
    const bool padding = get32(head, 0) == kSkippableMagic &&
                         get32(head, sizeof(u32)) == stored_ - rest_at - kSkippableHead;
    return padding ? Result<void>() : damaged("bytes behind its end");
  }

 private:
  struct FreeContext {
    void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
  };

  Result<void> refill() {
    in_.resize(std::min<u64>(kBlock, stored_ - read_bytes_));
    in_at_ = 0;
    if (in_.empty()) return damaged("it ends early");
    TRY(read_(read_bytes_, in_));
    read_bytes_ += in_.size();
    return {};
  }

  const StoredBytes& read_;
  u64 stored_, length_;
  std::unique_ptr<ZSTD_DCtx, FreeContext> context_;
  Bytes in_, out_ = Bytes(kBlock);
  size_t in_at_ = 0;
  u64 read_bytes_ = 0, unpacked_ = 0;
  bool ended_ = false;
};

}  // namespace

Result<StoredManifest> encode_manifest(const model::Image& image) {
  nlohmann::json json = model::to_json(image, model::JsonStyle::kMachine);
  const std::vector<u8> cbor = nlohmann::json::to_cbor(json);
  if (cbor.size() > kMaxLength) return fail(EFBIG, "the image has too many parts for one manifest");
  StoredManifest out;
  out.length = cbor.size();
  out.stored.resize(ZSTD_compressBound(cbor.size()));
  const size_t size =
      ZSTD_compress(out.stored.data(), out.stored.size(), cbor.data(), cbor.size(), kLevel);
  if (ZSTD_isError(size) != 0) return fail(ENOMEM, ZSTD_getErrorName(size));
  out.stored.resize(size);
  const u64 older = cbor_cost(json, cbor.size());
  json = nullptr;
  pad(out.stored, std::max(older, TRY(cost_of_reading(cbor))));
  return out;
}

u64 most_stored(u64 length) {
  // The padding is there for what each byte of CBOR may cost (cbor_cost, most_built) by the factor.
  return length > kMaxLength ? 0 : ZSTD_compressBound(length) + length + kSkippableHead;
}

Result<model::Image> decode_manifest(const StoredBytes& read, u64 stored, u64 length) {
  const u64 budget = budget_of(stored);
  if (length > budget || stored > most_stored(length)) return damaged("it promises too much");
  Unpacker unpacker(read, stored, length);
  TRY(unpacker.start());
  MemoryBudget memory(std::min(budget, most_built(length)));
  CborReader reader([&unpacker] { return unpacker.next(); }, length, memory);
  model::Image image = TRY(read_image(reader).context("manifest"));
  TRY(unpacker.finish());
  return image;
}

}  // namespace stasis::format
