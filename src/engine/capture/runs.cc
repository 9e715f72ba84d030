// Sorting and merging runs.
#include "capture/runs.h"

#include <algorithm>

namespace stasis::capture {
namespace {

u64 end_of(const model::Run& run) {
  return run.offset + run.length;
}

// Cuts from `run` what `taken` (ascending, disjoint) covers and appends the rest to `out`.
void append_uncovered(model::Run run, const std::vector<model::Run>& taken,
                      std::vector<model::Run>& out) {
  for (const model::Run& other : taken) {
    if (end_of(other) <= run.offset) continue;
    if (other.offset >= end_of(run)) break;
    if (other.offset > run.offset) {
      out.push_back({.offset = run.offset, .length = other.offset - run.offset, .kind = run.kind});
    }
    const u64 rest = std::min(end_of(run), end_of(other));
    run.length = end_of(run) - rest;
    run.offset = rest;
  }
  if (run.length > 0) out.push_back(run);
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
  std::vector<model::Run> rest;
  for (const model::Run& run : merge_one_kind({middle, runs.end()})) {
    append_uncovered(run, merged, rest);
  }
  merged.insert(merged.end(), rest.begin(), rest.end());
  std::sort(merged.begin(), merged.end(),
            [](const model::Run& a, const model::Run& b) { return a.offset < b.offset; });
  return merged;
}

}  // namespace stasis::capture
