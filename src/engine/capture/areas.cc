// Areas of /proc/PID/smaps -> model::Vma: what each one is, told by its name and sharing alone.
#include "capture/areas.h"

#include <string>

namespace stasis::capture {
namespace {

using model::VmaKind;

VmaKind special_kind(const proc::Area& area) {
  if (area.path == "[stack]") return VmaKind::kStack;
  if (area.path == "[vdso]") return VmaKind::kVdso;
  if (area.path == "[vsyscall]") return VmaKind::kVsyscall;
  // [vvar] and, from Linux 6.13 on, [vvar_vclock]
  if (area.path.starts_with("[vvar")) return VmaKind::kVvar;
  return VmaKind::kAnonymous;
}

// Without soft-dirty: that is the state of somebody's dirty tracking, not the program's.
std::vector<std::string> lasting_flags(const proc::Area& area) {
  std::vector<std::string> flags = area.flags;
  std::erase(flags, "sd");
  return flags;
}

model::Vma to_vma(const proc::Area& area) {
  return {.start = area.start,
          .end = area.end,
          .protection = area.protection,
          .shared = area.shared,
          .kind = maps_file(area) ? VmaKind::kFile : special_kind(area),
          .name = area.path.starts_with('[') ? area.path : "",
          .resource = std::nullopt,
          .offset = maps_file(area) ? area.offset : 0,
          .flags = lasting_flags(area)};
}

}  // namespace

bool is_kernels_own(const proc::Area& area) {
  return area.path == "[vdso]" || area.path == "[vsyscall]" || area.path.starts_with("[vvar");
}

bool maps_file(const proc::Area& area) {
  if (area.path.empty()) return false;
  // Private memory mapped from /dev/zero is anonymous memory with a name, private huge pages too.
  if (!area.shared && area.path == "/dev/zero") return false;
  if (!area.shared && area.path == "/anon_hugepage") return false;
  // Shared anonymous memory that was named by PR_SET_VMA is the one file that shows as "[...]".
  return !area.path.starts_with('[') || area.path.starts_with("[anon_shmem:");
}

Result<std::vector<model::Vma>> to_vmas(const std::vector<proc::Area>& areas,
                                        const ResourceOfArea& resource_of) {
  std::vector<model::Vma> vmas;
  vmas.reserve(areas.size());
  for (const proc::Area& area : areas) {
    model::Vma& vma = vmas.emplace_back(to_vma(area));
    if (vma.kind == VmaKind::kFile) vma.resource = TRY(resource_of(area));
  }
  return vmas;
}

}  // namespace stasis::capture
