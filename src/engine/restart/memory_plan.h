// The address space of a process as scripts: which calls map its areas, give them their flags and
// set its marks. Pure; contents are pages.h's business, running it memory.cc's.
#pragma once

#include <functional>
#include <map>
#include <span>
#include <vector>

#include "base/result.h"
#include "model/image.h"
#include "proc/maps.h"
#include "restart/target.h"
#include "trace/script.h"

namespace stasis::restart {

bool has_flag(const model::Vma& vma, std::string_view flag);  // VmFlags
// "/usr/bin/true 0x1000-0x2000", "[heap] 0x...-0x...", for messages.
std::string describe_area(const model::Image& image, const model::Vma& vma);

// What the scripts for one address space are made from.
struct MemoryPlan {
  const model::Image& image;
  const model::Process& process;
  // The descriptor, as the target knows it, through which an area's file is mapped.
  std::function<Result<int>(const model::Vma&)> descriptor;
  std::map<model::ResourceIndex, RemoteAddr> shared_homes;
  bool droppable_known = true;  // the kernel has MAP_DROPPABLE
  // Areas that are made by other means: the vdso's.
  [[nodiscard]] bool is_ours(const model::Vma& vma) const;
  // Private areas with contents to be filled in: writable until their contents are there.
  [[nodiscard]] bool needs_writing(const model::Vma& vma) const;
  [[nodiscard]] std::span<const model::Run> runs() const;
};

// Maps every SharedMemory whole and writable at its home.
trace::Script shared_script(const model::Image& image,
                            const std::map<model::ResourceIndex, RemoteAddr>& homes);
// ... and takes those mappings away again.
trace::Script drop_shared_script(const model::Image& image,
                                 const std::map<model::ResourceIndex, RemoteAddr>& homes);

// Maps all areas, with what must be known before their contents come (advice about huge pages).
Result<trace::Script> areas_script(const MemoryPlan& plan);
// Final protection, guard pages, names, locks, seals: after contents.
trace::Script settle_areas_script(const MemoryPlan& plan);

// Moves the kernel's vdso areas (`now`, of the target) to where the image has them. `relocated`
// tells where [vdso] shall be if not there. EXDEV when the areas are not the same.
Result<trace::Script> vdso_script(const std::vector<proc::Area>& now, const model::Memory& memory,
                                  std::optional<RemoteAddr> foreign_home);

// struct prctl_mm_map and auxv as they must lie at `at` in the target; PR_SET_MM_MAP takes the
// address of the first byte.
Bytes marks_block(const model::Memory& memory, RemoteAddr at);
trace::Script marks_script(RemoteAddr block);

}  // namespace stasis::restart
