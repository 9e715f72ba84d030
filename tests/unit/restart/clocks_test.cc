// When the clocks of an image need a time namespace, and how its points in time are to be read.
#include "restart/clocks.h"

#include <doctest/doctest.h>

#include <limits>

using namespace stasis;
using namespace stasis::restart;

namespace {

model::Origin saved(const std::string& boot, i64 monotonic, i64 boottime, i64 offset = 0) {
  model::Origin origin;
  origin.boot_id = boot;
  origin.monotonic_ns = monotonic + offset;
  origin.boottime_ns = boottime + offset;
  origin.monotonic_offset_ns = origin.boottime_offset_ns = offset;
  return origin;
}

ClocksHere here(const std::string& boot, i64 monotonic, i64 boottime, i64 offset = 0) {
  return {.boot_id = boot,
          .offsets = {offset, offset},
          .monotonic_ns = monotonic + offset,
          .boottime_ns = boottime + offset};
}

}  // namespace

TEST_CASE("within one boot, and where clocks are ahead, no time namespace is needed") {
  CHECK(!wanted_offsets(saved("a", 1000, 1000), here("a", 5000, 5000)));
  CHECK(!wanted_offsets(saved("a", 1000, 1000), here("b", 5000, 5000)));
  CHECK(!wanted_offsets(saved("a", 1000, 1000), here("a", 5000, 5000, 700)));  // we are in one
  CHECK(!wanted_offsets(saved("a", 1000, 1000, 700), here("a", 5000, 5000, 700)));
}

TEST_CASE("clocks behind those of the image are put forward to them") {
  const auto origin = saved("a", 9000, 9500);
  const auto now = here("b", 100, 9600);
  const auto wanted = wanted_offsets(origin, now);
  REQUIRE(wanted);
  CHECK(*wanted == proc::TimeOffsets{8900, 0});  // boottime is ahead
  const auto clocks = clocks_with(origin, now, *wanted);
  CHECK(clocks.monotonic == resource::ClockShift{0, 8900});
  CHECK(clocks.boottime == resource::ClockShift{100, 0});
}

TEST_CASE("without one, points in time of the image are shifted") {
  CHECK(clocks_with(saved("a", 9000, 9000), here("b", 100, 100), {}).monotonic ==
        resource::ClockShift{-8900, 0});
  CHECK(clocks_with(saved("a", 1000, 1000), here("b", 5000, 5000), {}).monotonic ==
        resource::ClockShift{4000, 0});
  CHECK(clocks_with(saved("a", 1000, 1000), here("a", 5000, 5000), {}).monotonic ==
        resource::ClockShift{});
  CHECK(clocks_with({}, here("a", 5000, 5000), {}).monotonic == resource::ClockShift{});
}

TEST_CASE("an image from a time namespace goes on in one like it on the same boot") {
  const auto origin = saved("a", 1000, 1000, 700);
  const auto wanted = wanted_offsets(origin, here("a", 5000, 5000));
  REQUIRE(wanted);
  CHECK(*wanted == proc::TimeOffsets{700, 700});  // the time between is not lost
  CHECK(clocks_with(origin, here("a", 5000, 5000), *wanted).monotonic ==
        resource::ClockShift{0, 700});
  // Behind ours, it wants nothing; its points in time are moved.
  const auto behind = saved("a", 1000, 1000, -300);
  CHECK(!wanted_offsets(behind, here("a", 5000, 5000)));
  CHECK(clocks_with(behind, here("a", 5000, 5000), {}).monotonic == resource::ClockShift{300, 0});
}

TEST_CASE("a boot id that is copied does not hide that the clock went back") {
  CHECK(wanted_offsets(saved("a", 9000, 9000), here("a", 100, 100)) ==
        proc::TimeOffsets{8900, 8900});
}

TEST_CASE("offsets are written as the kernel reads them") {
  CHECK(offsets_text({1'500'000'000, -1}) == "monotonic 1 500000000\nboottime -1 999999999\n");
}

TEST_CASE("clocks of an image that are no times are as far away as can be") {
  constexpr i64 kLeast = std::numeric_limits<i64>::min(), kMost = std::numeric_limits<i64>::max();
  for (const i64 time : {kLeast, kMost}) {
    for (const i64 offset : {kLeast, kMost}) {
      model::Origin origin;
      origin.boot_id = "a";
      origin.monotonic_ns = origin.boottime_ns = time;
      origin.monotonic_offset_ns = origin.boottime_offset_ns = offset;
      const auto wanted = wanted_offsets(origin, here("a", 100, 100, 7));
      (void)clocks_with(origin, here("a", 100, 100, 7), wanted.value_or(proc::TimeOffsets()));
      CHECK(!behind_note(origin, here("a", 100, 100, 7), "").empty());
    }
  }
  model::Origin far;
  far.monotonic_ns = kMost;
  CHECK(wanted_offsets(far, here("b", 100, 100))->monotonic_ns == kMost - 100);
}
