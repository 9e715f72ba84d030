// capture/runs: merging lists of runs.
#include "capture/runs.h"

#include <doctest/doctest.h>

using namespace stasis;
using model::Run;
using model::RunKind;

namespace {

Run data(u64 offset, u64 length) {
  return {.offset = offset, .length = length, .kind = RunKind::kData};
}
Run zero(u64 offset, u64 length) {
  return {.offset = offset, .length = length, .kind = RunKind::kZero};
}

}  // namespace

TEST_CASE("overlapping and adjacent runs become one, gaps stay") {
  const auto merged = capture::merge_runs(
      {data(0x5000, 0x1000), data(0x1000, 0x2000), data(0x2000, 0x2000), data(0x4000, 0x1000)});
  CHECK(merged == std::vector<Run>{data(0x1000, 0x5000)});
  CHECK(capture::merge_runs({data(0x3000, 0x1000), data(0x1000, 0x1000)}) ==
        std::vector<Run>{data(0x1000, 0x1000), data(0x3000, 0x1000)});
}

TEST_CASE("where data and zeros overlap, data wins") {
  const auto merged = capture::merge_runs({zero(0x1000, 0x6000), data(0x3000, 0x1000)});
  CHECK(merged ==
        std::vector<Run>{zero(0x1000, 0x2000), data(0x3000, 0x1000), zero(0x4000, 0x3000)});
}

TEST_CASE("nothing comes of nothing") {
  CHECK(capture::merge_runs({}).empty());
  CHECK(capture::merge_runs({data(0x1000, 0)}).empty());
}

TEST_CASE("what is left when runs are taken away, in any order") {
  const auto left = capture::subtract_runs(
      {data(0x8000, 0x1000), data(0x1000, 0x4000), zero(0x6000, 0x1000)},
      {data(0x2000, 0x1000), data(0x0, 0x1000), data(0x2800, 0x1000), data(0x8000, 0x9000)});
  CHECK(left == std::vector<Run>{data(0x1000, 0x1000), data(0x3800, 0x1800), zero(0x6000, 0x1000)});
  CHECK(capture::subtract_runs({}, {data(0, 1)}).empty());
  CHECK(capture::subtract_runs({data(1, 2)}, {}) == std::vector<Run>{data(1, 2)});
  // One hole serves two runs, and one run has two holes.
  CHECK(capture::subtract_runs({data(0, 10), data(10, 10)}, {data(8, 4), data(14, 2)}) ==
        std::vector<Run>{data(0, 8), data(12, 2), data(16, 4)});
}
