// Strong types that every room shares: addresses in another process, raw bytes, integer names.
// Quantities that are not addresses carry their unit in their name (timeout_ms, length in bytes).
#pragma once

#include <sys/types.h>

#include <compare>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace stasis {

using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;
using i32 = std::int32_t;
using i64 = std::int64_t;

using Bytes = std::vector<std::byte>;
using ByteView = std::span<const std::byte>;
using ByteSpan = std::span<std::byte>;

// A process or thread id as the kernel shows it in our pid namespace.
using Pid = pid_t;

// The page size of every architecture we build for so far. An image records its own.
inline constexpr u64 kPageSize = 4096;

constexpr u64 page_down(u64 value) {
  return value & ~(kPageSize - 1);
}
constexpr u64 page_up(u64 value) {
  return page_down(value + kPageSize - 1);
}

// An address in some process other than ours. Never dereferenced here; arithmetic is in bytes.
struct RemoteAddr {
  u64 value = 0;

  constexpr auto operator<=>(const RemoteAddr&) const = default;
  constexpr RemoteAddr operator+(u64 bytes) const { return {value + bytes}; }
  constexpr RemoteAddr operator-(u64 bytes) const { return {value - bytes}; }
  constexpr u64 operator-(RemoteAddr other) const { return value - other.value; }
  constexpr explicit operator bool() const { return value != 0; }
};

}  // namespace stasis
