// Which area serves which page of an object that only mappings reach.
#include "capture/mapped_content.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "capture/inside.h"
#include "capture/runs.h"

namespace stasis::capture {
namespace {

using model::Run;

// Pages of an area that do not show the object: private copies, guard pages.
Result<std::vector<Run>> own_pages(Pid tid, const proc::Area& area) {
  proc::Pagemap pagemap = TRY(proc::Pagemap::open(tid));
  std::vector<Run> own;
  for (const proc::PageRange& range :
       TRY(area.shared ? pagemap.present_pages(area) : pagemap.private_pages(area))) {
    if (area.shared && !range.guard) continue;
    own.push_back({.offset = area.offset + (range.start - area.start), .length = range.length});
  }
  return own;
}

Result<bool> can_read(const trace::RemoteMemory& memory, RemoteAddr at) {
  std::array<std::byte, 1> byte;
  const auto read = memory.read(at, byte);
  if (read) return true;
  if (read.error().code == EFAULT) return false;
  return read.error();
}

void append(std::vector<Run>& to, std::vector<Run> runs) {
  to.insert(to.end(), runs.begin(), runs.end());
}

}  // namespace

void MappedContent::add(trace::FrozenProcess& process, const proc::Area& area) {
  Source& source = sources_.emplace_back();
  source.process = &process;
  source.area = area;
  source.readable = area.length();
}

// A mapping may reach beyond the end of its file: there it has no pages (SIGBUS).
Result<void> MappedContent::find_end(Source& source) {
  const auto is_there = [&source](u64 page) -> Result<bool> {
    const u64 offset = source.area.offset + page * kPageSize;
    for (const Run& run : source.own) {
      if (run.offset <= offset && offset < run.offset + run.length) return true;
    }
    return can_read(source.process->memory, source.area.start + page * kPageSize);
  };
  u64 low = 0, high = source.area.length() / kPageSize;  // there below low, not from high on
  if (TRY(is_there(high - 1))) return {};
  while (low < high) {
    const u64 middle = low + (high - low) / 2;
    if (TRY(is_there(middle))) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  source.readable = low * kPageSize;
  return {};
}

Result<void> MappedContent::note_pages(trace::FrozenProcess& process, trace::RemoteCalls& calls,
                                       bool on_disk) {
  for (Source& source : sources_) {
    if (source.process != &process) continue;
    const proc::Area& area = source.area;
    source.own = TRY(own_pages(process.any_live_tid(), area));
    const auto twin = std::ranges::find_if(sources_, [&](const Source& other) {
      return other.asked && other.area.shared && area.shared && other.area.offset == area.offset &&
             other.area.length() == area.length();
    });
    source.asked = true;
    if (twin != sources_.end()) {  // another process has told already
      source.readable = twin->readable;
      continue;
    }
    if (on_disk) TRY(find_end(source));
    if (on_disk || area.swap_kb > 0) {
      source.exists = {{.offset = area.offset, .length = source.readable}};
    } else {
      source.exists = TRY(resident_runs(process, calls, area));
    }
  }
  return {};
}

// What this area shows of the object and none before it has shown.
void MappedContent::serve(const Source& source, std::vector<Run>& covered, Parts& parts) {
  std::vector<Run> hidden = source.own;
  append(hidden, covered);
  const Run range = {.offset = source.area.offset, .length = source.readable};
  const std::vector<Run> shown = subtract_runs({range}, std::move(hidden));
  for (const Run& run : shown) {
    parts.pieces.push_back({.offset = run.offset,
                            .length = run.length,
                            .memory = &source.process->memory,
                            .address = source.area.start + (run.offset - source.area.offset)});
  }
  append(covered, shown);
  covered = merge_runs(std::move(covered));
}

MappedContent::Parts MappedContent::parts() const {
  Parts parts;
  std::vector<Run> covered, mapped;
  for (const bool shared : {true, false}) {
    const std::vector<Run> by_shared = shared ? std::vector<Run>{} : covered;
    for (const Source& source : sources_) {
      if (source.area.shared != shared) continue;
      serve(source, covered, parts);
      append(parts.runs, subtract_runs(subtract_runs(source.exists, source.own), by_shared));
      mapped.push_back({.offset = source.area.offset, .length = source.readable});
      parts.size = std::max(parts.size, source.area.offset + source.readable);
    }
  }
  std::ranges::sort(parts.pieces, {}, &MappedPiece::offset);
  parts.runs = merge_runs(std::move(parts.runs));
  mapped = merge_runs(std::move(mapped));
  parts.unmapped = subtract_runs({{.offset = 0, .length = parts.size}}, mapped);
  parts.hidden = subtract_runs(std::move(mapped), std::move(covered));
  return parts;
}

}  // namespace stasis::capture
