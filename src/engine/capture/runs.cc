// Sorting, merging and subtracting runs.
#include "capture/runs.h"

#include <algorithm>

namespace stasis::capture {
namespace {

u64 end_of(const model::Run& run) {
  return run.offset + run.length;
}

std::vector<model::Run> merge_one_kind(std::vector<model::Run> runs) {
  std::sort(runs.begin(), runs.end(),
            [](const model::Run& a, const model::Run& b) { return a.offset < b.offset; });
  std::vector<model::Run> merged;
  for (const model::Run& run : runs) {
    if (run.length == 0) continue;
    if (!merged.empty() && run.offset <= end_of(merged.back())) {
      merged.back().length = std::max(end_of(merged.back()), end_of(run)) - merged.back().offset;
    } else {
      merged.push_back(run);
    }
  }
  return merged;
}

}  // namespace

std::vector<model::Run> merge_runs(std::vector<model::Run> runs) {
  const auto middle = std::stable_partition(runs.begin(), runs.end(), [](const model::Run& run) {
    return run.kind == model::RunKind::kData;
  });
  std::vector<model::Run> merged = merge_one_kind({runs.begin(), middle});
  const std::vector<model::Run> rest = subtract_runs(merge_one_kind({middle, runs.end()}), merged);
  merged.insert(merged.end(), rest.begin(), rest.end());
  std::sort(merged.begin(), merged.end(),
            [](const model::Run& a, const model::Run& b) { return a.offset < b.offset; });
  return merged;
}

std::vector<model::Run> subtract_runs(std::vector<model::Run> from, std::vector<model::Run> taken) {
  const auto by_offset = [](const model::Run& a, const model::Run& b) {
    return a.offset < b.offset;
  };
  std::sort(from.begin(), from.end(), by_offset);
  taken = merge_one_kind(std::move(taken));
  std::vector<model::Run> rest;
  auto first = taken.begin();
  for (const model::Run& run : from) {
    while (first != taken.end() && end_of(*first) <= run.offset) ++first;
    u64 at = run.offset;
    for (auto next = first; next != taken.end() && next->offset < end_of(run); ++next) {
      if (next->offset > at) {
        rest.push_back({.offset = at, .length = next->offset - at, .kind = run.kind});
      }
      at = std::max(at, std::min(end_of(*next), end_of(run)));
    }
    if (at < end_of(run)) {
      rest.push_back({.offset = at, .length = end_of(run) - at, .kind = run.kind});
    }
  }
  return rest;
}

}  // namespace stasis::capture
