// Arithmetic of times that come from an image or another program and may be anything: what does not
// fit stays at the end of the range, as with the kernel's ktime_add_safe(). All are nanoseconds.
#pragma once

#include <limits>

#include "base/types.h"

namespace stasis {

inline constexpr i64 kNsPerSecond = 1'000'000'000;

constexpr i64 saturated_sum(i64 a, i64 b) {
  i64 sum = 0;
  if (!__builtin_add_overflow(a, b, &sum)) return sum;
  return b < 0 ? std::numeric_limits<i64>::min() : std::numeric_limits<i64>::max();
}

constexpr i64 saturated_difference(i64 a, i64 b) {
  i64 difference = 0;
  if (!__builtin_sub_overflow(a, b, &difference)) return difference;
  return b < 0 ? std::numeric_limits<i64>::max() : std::numeric_limits<i64>::min();
}

constexpr i64 saturated_product(i64 a, i64 b) {
  i64 product = 0;
  if (!__builtin_mul_overflow(a, b, &product)) return product;
  return (a < 0) != (b < 0) ? std::numeric_limits<i64>::min() : std::numeric_limits<i64>::max();
}

constexpr i64 saturated_ns(i64 seconds, i64 ns) {
  return saturated_sum(saturated_product(seconds, kNsPerSecond), ns);
}

}  // namespace stasis
