// XXH64 with seed 0, the checksum of context files (what `xxhsum -H64` prints). Written here
// because libzstd keeps its own to itself; it finds accidents, not attackers.
#pragma once

#include <array>

#include "base/types.h"

namespace stasis::format {

u64 hash_bytes(ByteView bytes);

// The same, of bytes that come in blocks: nothing has to be in memory as a whole.
class Hasher {
 public:
  void add(ByteView bytes);
  [[nodiscard]] u64 value() const;  // of all that was added so far

 private:
  static constexpr size_t kStripe = 32;

  std::array<u64, 4> lanes_ = kStart;
  std::array<std::byte, kStripe> rest_{};  // what does not fill a stripe yet
  size_t rest_bytes_ = 0;
  u64 bytes_ = 0;

  static const std::array<u64, 4> kStart;
};

}  // namespace stasis::format
