// First fit over the union of all layouts. Stacks grow: every hole keeps its distance.
#include "restart/layout.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "proc/maps.h"
#include "restart/passes.h"

namespace stasis::restart {
namespace {

// Above programs at fixed addresses, Go's and Java's heaps; below randomised programs (0x55...)
// and libraries (0x7f...).
constexpr RemoteAddr kPreferred{0x100000000000};
constexpr u64 kDistance = 64 << 20;

Error no_room(u64 length, std::string_view what) {
  return fail(ENOMEM, fmt::format("no {} bytes of address space are free for {}", length, what));
}

Layout with_scratch(const model::Image& image, const Scratch& scratch) {
  Layout layout(image);
  layout.add(scratch.start, scratch.length);
  return layout;
}

}  // namespace

Layout::Layout(const model::Image& image) {
  for (const model::Process& process : image.processes) {
    for (const model::Vma& vma : process.memory.vmas) add(vma.start, vma.length());
    add(process.memory.marks.start_brk, process.memory.marks.brk - process.memory.marks.start_brk);
  }
}

void Layout::add(RemoteAddr start, u64 length) {
  if (start >= kAddressEnd) return;  // the vsyscall page
  RemoteAddr& end = taken_[start];
  end = std::max(end, start + std::min(length, kAddressEnd - start));
}

bool Layout::is_free(RemoteAddr start, u64 length) const {
  return std::none_of(taken_.begin(), taken_.end(), [&](const auto& area) {
    return area.first < start + length && start < area.second;
  });
}

std::optional<RemoteAddr> Layout::hole_from(RemoteAddr lowest, u64 length) const {
  RemoteAddr candidate = lowest;
  for (const auto& [start, end] : taken_) {
    if (end.value + kDistance <= candidate.value) continue;
    if (start >= candidate + length + kDistance) break;
    candidate = std::max(candidate, {page_up(end.value + kDistance)});
  }
  if (candidate >= kAddressEnd || kAddressEnd - candidate < length + kDistance) return std::nullopt;
  return candidate;
}

std::optional<RemoteAddr> Layout::hole(u64 length) const {
  if (length > kAddressEnd.value) return std::nullopt;
  if (const auto found = hole_from(kPreferred, length)) return found;
  return hole_from(kLowestAddress, length);
}

Result<Scratch> choose_scratch(const model::Image& image, u64 length) {
  Layout layout(image);
  for (const proc::Area& area : TRY(proc::read_maps(::getpid()))) {
    if (area.start < kAddressEnd) layout.add(area.start, area.length());
  }
  const auto found = layout.hole(page_up(length));
  if (!found) return no_room(length, "rebuilding");
  return Scratch{*found, page_up(length)};
}

Result<std::map<model::ResourceIndex, RemoteAddr>> shared_homes(const model::Image& image,
                                                                const Scratch& scratch) {
  Layout layout = with_scratch(image, scratch);
  std::map<model::ResourceIndex, RemoteAddr> homes;
  for (size_t i = 0; i < image.resources.size(); ++i) {
    const auto* memory = std::get_if<model::SharedMemory>(&image.resources[i]);
    if (memory == nullptr) continue;
    const u64 length = page_up(memory->size);
    const auto found = layout.hole(length);
    if (!found) return no_room(length, "shared memory");
    layout.add(*found, length);
    homes.emplace(static_cast<model::ResourceIndex>(i), *found);
  }
  return homes;
}

Result<RemoteAddr> foreign_vdso_home(const model::Image& image, const Scratch& scratch,
                                     u64 length) {
  Layout layout = with_scratch(image, scratch);
  for (const auto& [resource, start] : TRY(shared_homes(image, scratch))) {
    const auto& memory = std::get<model::SharedMemory>(image.resources[resource]);
    layout.add(start, page_up(memory.size));
  }
  const auto found = layout.hole(length);
  if (!found) return no_room(length, "this kernel's vdso");
  return *found;
}

}  // namespace stasis::restart
