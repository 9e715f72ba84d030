// Which pages of a process an image must hold. Private areas: pages that the process has made its
// own (what is missing is zeros, or in the file). Shared areas have their contents in the object
// that they map, so only guard marks belong to the address space.
#include <fmt/format.h>

#include "capture/areas.h"
#include "capture/runs.h"

namespace stasis::capture {
namespace {

using model::Run;
using model::RunKind;

Run run_of(const proc::PageRange& range) {
  const RunKind kind = range.guard ? RunKind::kGuard : range.zero ? RunKind::kZero : RunKind::kData;
  return {.offset = range.start.value, .length = range.length, .kind = kind};
}

Result<void> append_runs(proc::Pagemap& pagemap, const proc::Area& area, std::vector<Run>& runs) {
  const auto ranges = TRY(area.shared ? pagemap.present_pages(area) : pagemap.private_pages(area));
  for (const proc::PageRange& range : ranges) {
    const Run run = run_of(range);
    if (area.shared && run.kind != RunKind::kGuard) continue;
    // What no run covers is zeros already, but for files.
    if (run.kind == RunKind::kZero && !maps_file(area)) continue;
    runs.push_back(run);
  }
  return {};
}

}  // namespace

Result<std::vector<Run>> memory_runs(Pid pid, const std::vector<proc::Area>& areas) {
  proc::Pagemap pagemap = TRY(proc::Pagemap::open(pid));
  std::vector<Run> runs;
  for (const proc::Area& area : areas) {
    if (is_kernels_own(area)) continue;
    // MAP_DROPPABLE: the state of random number generators, which must not be gone on from twice.
    // The kernel may empty it at any time, so that the program starts anew then.
    if (area.has_flag("dp")) continue;
    TRY(append_runs(pagemap, area, runs)
            .context(fmt::format("pages of process {} at {:#x}", pid, area.start.value)));
  }
  return merge_runs(std::move(runs));
}

Result<std::vector<Run>> shared_runs(Pid pid, const std::vector<proc::Area>& mappings) {
  proc::Pagemap pagemap = TRY(proc::Pagemap::open(pid));
  std::vector<Run> runs;
  for (const proc::Area& area : mappings) {
    for (const proc::PageRange& range : TRY(pagemap.present_pages(area))) {
      if (range.guard) continue;
      runs.push_back({.offset = area.offset + (range.start - area.start), .length = range.length});
    }
  }
  return merge_runs(std::move(runs));
}

}  // namespace stasis::capture
