// base/saturated.h: sums of times stay inside the range.
#include "base/saturated.h"

#include <doctest/doctest.h>

using namespace stasis;

namespace {

constexpr i64 kLeast = std::numeric_limits<i64>::min(), kMost = std::numeric_limits<i64>::max();

}  // namespace

TEST_CASE("what fits is what it is") {
  CHECK(saturated_sum(3, -5) == -2);
  CHECK(saturated_difference(3, 5) == -2);
  CHECK(saturated_product(-3, 5) == -15);
  CHECK(saturated_ns(2, 5) == 2'000'000'005);
  CHECK(saturated_ns(-2, 5) == -1'999'999'995);
}

TEST_CASE("what does not fit stays at the end that it went beyond") {
  CHECK(saturated_sum(kMost, 1) == kMost);
  CHECK(saturated_sum(kLeast, -1) == kLeast);
  CHECK(saturated_difference(kLeast, 1) == kLeast);
  CHECK(saturated_difference(kMost, kLeast) == kMost);
  CHECK(saturated_product(kMost, 2) == kMost);
  CHECK(saturated_product(kLeast, 2) == kLeast);
  CHECK(saturated_product(kLeast, -1) == kMost);
  CHECK(saturated_ns(kMost, 1) == kMost);
  CHECK(saturated_ns(kLeast, 1) == kLeast + 1);
}
