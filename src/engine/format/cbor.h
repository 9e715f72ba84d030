// The subset of CBOR (RFC 8949) that manifests use, read strictly: definite lengths, no tags, no
// floating point, bounded nesting. A pull reader: it holds one block of the input, and values are
// built only by a caller that asks for them, so that what is skipped costs nothing however large it
// says it is. Our own because nlohmann's builds everything and recurses into nested indefinite
// strings without asking anybody, which a hostile file turns into a stack overflow.
#pragma once

#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "base/result.h"
#include "base/types.h"

namespace stasis::format {

inline constexpr int kMaxCborDepth = 32;

// What may be built of a manifest, in bytes. Shared by all readers of one manifest.
class MemoryBudget {
 public:
  explicit MemoryBudget(u64 bytes) : left_(bytes) {}
  // Before `bytes` are allocated. EINVAL when there have been too many.
  Result<void> charge(u64 bytes);
  [[nodiscard]] u64 left() const { return left_; }

 private:
  u64 left_;
};

enum class CborType : u8 { kUnsigned, kNegative, kBytes, kText, kArray, kMap, kTag, kSimple };

struct CborHead {
  CborType type = CborType::kUnsigned;
  u8 detail = 0;  // the low five bits
  // The number (of kNegative: -1 minus it), bytes of a string, or elements. A length is never more
  // than what is left of the input.
  u64 value = 0;

  [[nodiscard]] bool is_bool() const {
    return type == CborType::kSimple && (detail == 20 || detail == 21);
  }
  [[nodiscard]] bool is_true() const { return type == CborType::kSimple && detail == 21; }
  [[nodiscard]] bool is_null() const { return type == CborType::kSimple && detail == 22; }
};

class CborReader {
 public:
  // The next block of the input, which stays valid until the next call. Empty at the end.
  using NextBlock = std::function<Result<ByteView>()>;

  // `length`: of the whole input, which ends there whatever `next` has.
  CborReader(NextBlock next, u64 length, MemoryBudget& budget)
      : next_(std::move(next)), length_(length), budget_(budget) {}

  // Every error is EINVAL with the offset, or what the input answers.
  Result<CborHead> head();
  // The bytes of a string whose head was read.
  Result<std::string> string(const CborHead& head);
  Result<Bytes> bytes(const CborHead& head);
  // The name of a member. Of a longer one than any that we know only the beginning is kept.
  Result<std::string> name();

  // Around the elements of an array or the members of a map that the caller reads.
  Result<void> enter();
  void leave() { --depth_; }

  // The whole next item, whatever is in it: read past, or its bytes.
  Result<void> skip();
  Result<Bytes> record();

  // EINVAL if there is more.
  Result<void> finish();

  MemoryBudget& budget() { return budget_; }
  [[nodiscard]] Error wrong(std::string_view what) const;

 private:
  [[nodiscard]] u64 left() const { return length_ - at_; }
  Result<void> refill();
  // Consumes `count` bytes, a block at a time.
  template <class Use>
  Result<void> take(u64 count, Use use);
  Result<CborHead> checked(const CborHead& head) const;

  NextBlock next_;
  u64 length_;
  MemoryBudget& budget_;
  ByteView block_;
  u64 at_ = 0;
  int depth_ = 0;
  Bytes* recording_ = nullptr;
};

// What older readers count for a manifest that we made: its bytes, and 128 an item.
u64 cbor_cost(const nlohmann::json& json, u64 encoded_bytes);

}  // namespace stasis::format
