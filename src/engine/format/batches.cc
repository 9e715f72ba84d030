// Batches of pages, in the order of the stream.
#include "format/batches.h"

#include <algorithm>

#include "format/layout.h"

namespace stasis::format {
namespace {

void add_piece(Plan& plan, const Piece& piece) {
  const u64 weight = piece.part.kind == model::RunKind::kData ? piece.part.length : 0;
  if (plan.batches.empty() || plan.batches.back().bytes + weight > kFrameBytes) {
    plan.batches.push_back({plan.pieces.size(), 0, 0});
  }
  plan.pieces.push_back(piece);
  ++plan.batches.back().count;
  plan.batches.back().bytes += weight;
  plan.bytes += weight;
}

// How much of `left` bytes the open batch still takes; a full batch makes room by being closed.
u64 fitting(const Plan& plan, u64 left) {
  const u64 used = plan.batches.empty() ? kFrameBytes : plan.batches.back().bytes;
  return std::min(left, used == kFrameBytes ? kFrameBytes : kFrameBytes - used);
}

void add_run(Plan& plan, Piece piece) {
  const model::Run run = piece.part;
  if (run.kind != model::RunKind::kData) return add_piece(plan, piece);
  for (u64 done = 0; done < run.length;) {
    piece.part.offset = run.offset + done;
    piece.part.length = fitting(plan, run.length - done);
    done += piece.part.length;
    add_piece(plan, piece);
  }
}

}  // namespace

Plan plan_batches(const model::Image& image) {
  Plan plan;
  for (size_t space = 0; space < image.spaces.size(); ++space) {
    const auto& runs = image.spaces[space].runs;
    for (size_t run = 0; run < runs.size(); ++run) {
      add_run(plan, {static_cast<model::SpaceIndex>(space), run, runs[run]});
    }
  }
  return plan;
}

FileAreas::FileAreas(const model::Image& image) {
  for (const model::Process& process : image.processes) {
    auto& areas = areas_[process.memory.space];
    for (const model::Vma& vma : process.memory.vmas) {
      if (vma.kind == model::VmaKind::kFile && !vma.shared) {
        areas.emplace_back(vma.start.value, vma.end.value);
      }
    }
    std::sort(areas.begin(), areas.end());
  }
}

bool FileAreas::covers(model::SpaceIndex space, u64 address) const {
  const auto found = areas_.find(space);
  if (found == areas_.end()) return false;
  const auto after =
      std::upper_bound(found->second.begin(), found->second.end(), std::pair{address, ~u64{0}});
  return after != found->second.begin() && address < std::prev(after)->second;
}

std::vector<model::Run> FileAreas::inside(model::SpaceIndex space, const model::Run& run) const {
  std::vector<model::Run> out;
  const auto found = areas_.find(space);
  if (found == areas_.end()) return out;
  u64 at = run.offset;
  const u64 end = run.offset + run.length;
  for (const auto& [start, stop] : found->second) {
    const u64 from = std::max(at, start);
    const u64 to = std::min(end, stop);
    if (from >= to) continue;
    out.push_back({from, to - from, run.kind});
    at = to;
  }
  return out;
}

}  // namespace stasis::format
