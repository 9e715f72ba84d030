// XXH64 by its specification (github.com/Cyan4973/xxHash, doc/xxhash_spec.md): four lanes of eight
// bytes while there are 32 bytes left, then their merge, then the rest, then the avalanche.
#include "format/hash.h"

#include <algorithm>
#include <bit>

#include "format/layout.h"

namespace stasis::format {
namespace {

constexpr u64 kPrime1 = 0x9E3779B185EBCA87U;
constexpr u64 kPrime2 = 0xC2B2AE3D27D4EB4FU;
constexpr u64 kPrime3 = 0x165667B19E3779F9U;
constexpr u64 kPrime4 = 0x85EBCA77C2B2AE63U;
constexpr u64 kPrime5 = 0x27D4EB2F165667C5U;

constexpr u64 round(u64 lane, u64 input) {
  return std::rotl(lane + input * kPrime2, 31) * kPrime1;
}

constexpr u64 merge(u64 sum, u64 lane) {
  return (sum ^ round(0, lane)) * kPrime1 + kPrime4;
}

// Eats whole stripes of 32 bytes.
void hash_stripes(std::array<u64, 4>& lanes, ByteView& rest) {
  while (rest.size() >= 32) {
    for (size_t i = 0; i < 4; ++i) lanes[i] = round(lanes[i], get64(rest, i * 8));
    rest = rest.subspan(32);
  }
}

u64 sum_of(const std::array<u64, 4>& lanes) {
  u64 sum = std::rotl(lanes[0], 1) + std::rotl(lanes[1], 7) + std::rotl(lanes[2], 12) +
            std::rotl(lanes[3], 18);
  for (const u64 lane : lanes) sum = merge(sum, lane);
  return sum;
}

// The last bytes, fewer than a stripe, and the avalanche.
u64 finish(u64 sum, ByteView rest) {
  for (; rest.size() >= 8; rest = rest.subspan(8)) {
    sum = std::rotl(sum ^ round(0, get64(rest, 0)), 27) * kPrime1 + kPrime4;
  }
  if (rest.size() >= 4) {
    sum = std::rotl(sum ^ (get32(rest, 0) * kPrime1), 23) * kPrime2 + kPrime3;
    rest = rest.subspan(4);
  }
  for (const std::byte byte : rest) {
    sum = std::rotl(sum ^ (std::to_integer<u64>(byte) * kPrime5), 11) * kPrime1;
  }
  sum = (sum ^ (sum >> 33)) * kPrime2;
  sum = (sum ^ (sum >> 29)) * kPrime3;
  return sum ^ (sum >> 32);
}

}  // namespace

const std::array<u64, 4> Hasher::kStart{kPrime1 + kPrime2, kPrime2, 0, 0 - kPrime1};

void Hasher::add(ByteView bytes) {
  bytes_ += bytes.size();
  if (rest_bytes_ > 0) {
    const size_t count = std::min(kStripe - rest_bytes_, bytes.size());
    std::copy_n(bytes.begin(), count, rest_.begin() + static_cast<ptrdiff_t>(rest_bytes_));
    rest_bytes_ += count;
    bytes = bytes.subspan(count);
    if (rest_bytes_ < kStripe) return;
    ByteView stripe = rest_;
    hash_stripes(lanes_, stripe);
  }
  hash_stripes(lanes_, bytes);
  std::copy(bytes.begin(), bytes.end(), rest_.begin());
  rest_bytes_ = bytes.size();
}

u64 Hasher::value() const {
  const u64 sum = bytes_ >= kStripe ? sum_of(lanes_) : kPrime5;
  return finish(sum + bytes_, ByteView(rest_).first(rest_bytes_));
}

u64 hash_bytes(ByteView bytes) {
  Hasher hasher;
  hasher.add(bytes);
  return hasher.value();
}

}  // namespace stasis::format
