// Which pages of a process an image must hold. Private areas: pages that the process has made its
// own (what is missing is zeros, or in the file). Shared areas have their contents in the object
// that they map, so only guard marks belong to the address space.
#include <fmt/format.h>

#include <algorithm>

#include "base/sys.h"
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

// Whether the area maps the executable of the process.
bool maps_executable(const proc::Area& area, const std::string& executable) {
  return !executable.empty() && area.path == executable;
}

// The part of a private file area that lies inside the file, i.e. that can be read; empty when the
// file is not there any more under its name (its contents are carried by its resource then).
Run readable_part(const proc::Area& area) {
  Run part{.offset = area.start.value, .length = 0};
  const auto status = sys::stat(area.path);
  if (!status || area.deleted || status->st_ino != area.inode) return part;
  const u64 size = page_up(static_cast<u64>(std::max<off_t>(status->st_size, 0)));
  if (size > area.offset) part.length = std::min(area.length(), size - area.offset);
  return part;
}

bool wanted_whole(const proc::Area& area, const std::string& executable,
                  const CaptureOptions& options) {
  if (area.shared || !maps_file(area)) return false;
  return options.save_private || (options.save_executable && maps_executable(area, executable));
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

// Adds `part` where `runs`, which all lie in one area, say nothing yet.
void fill_gaps(const Run& part, std::vector<Run>& runs) {
  std::vector<Run> gaps;
  u64 at = part.offset;
  const u64 end = part.offset + part.length;
  for (const Run& run : runs) {
    if (run.offset > at) gaps.push_back({.offset = at, .length = std::min(run.offset, end) - at});
    at = std::max(at, std::min(end, run.offset + run.length));
  }
  if (at < end) gaps.push_back({.offset = at, .length = end - at});
  runs.insert(runs.end(), gaps.begin(), gaps.end());
}

}  // namespace

Result<std::vector<Run>> memory_runs(Pid pid, const std::vector<proc::Area>& areas,
                                     const CaptureOptions& options) {
  proc::Pagemap pagemap = TRY(proc::Pagemap::open(pid));
  std::string executable;
  if (options.save_executable) {
    executable = TRY(sys::read_link(fmt::format("/proc/{}/exe", pid)));
  }
  std::vector<Run> runs;
  for (const proc::Area& area : areas) {
    if (is_kernels_own(area)) continue;
    std::vector<Run> of_area;
    TRY(append_runs(pagemap, area, of_area)
            .context(fmt::format("pages of process {} at {:#x}", pid, area.start.value)));
    if (wanted_whole(area, executable, options)) fill_gaps(readable_part(area), of_area);
    runs.insert(runs.end(), of_area.begin(), of_area.end());
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
