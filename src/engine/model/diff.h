// Compares two images member by member, and their page contents: the oracle of tests that capture,
// restart and capture again.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "model/image.h"
#include "model/page_source.h"

namespace stasis::model {

struct DiffOptions {
  bool exact = false;  // compare as they are, without normalise()
  // By how much times left may differ. A timer with an interval only has to be armed in both.
  i64 time_tolerance_ns = i64{60} * 1'000'000'000;
  size_t most_lines = 100;  // then "and more"
  // Members that are not compared: the ends of their paths, without indices ("threads.registers").
  std::vector<std::string> ignored;
};

// One line a difference, "processes[7].threads[8].name: a != b"; empty when there is none. Members
// that have a key of their own (areas, descriptors, threads) are matched by it.
std::vector<std::string> diff(const Image& a, const Image& b, const DiffOptions& options = {});

struct ContentsDiffOptions {
  size_t most_lines = 100;
  // Stretches of address spaces that may differ (below the stack pointer, rseq areas).
  std::vector<Run> ignored;
  // What a private file area of the image shows where it has no run; without it such pages are
  // compared only if both images have them.
  std::function<Result<void>(const Image& image, const Vma& vma, u64 address, ByteSpan page)>
      file_page;
};

// Page contents of all spaces over the union of their runs, a line for every page that differs,
// with the address of the first byte that does.
Result<std::vector<std::string>> diff_contents(const Image& a, PageSource& pages_a, const Image& b,
                                               PageSource& pages_b,
                                               const ContentsDiffOptions& options = {});

}  // namespace stasis::model
