// The table; letters from Documentation/filesystems/proc.rst and fs/proc/task_mmu.c.
#include "model/vm_flags.h"

#include <algorithm>

namespace stasis::model {
namespace {

using enum VmFlagRule;

constexpr std::string_view kUserfault =
    "page faults there are handled by userfaultfd, which "
    "cannot be saved";
constexpr std::string_view kDevice = "it is memory of a device, not the program's own";

constexpr VmFlag kFlags[] = {
    {"rd", kImplied},
    {"wr", kImplied},
    {"ex", kImplied},
    {"sh", kImplied},
    {"mr", kImplied},
    {"mw", kImplied, "the descriptor it is mapped through may write"},
    {"me", kImplied},
    {"ms", kImplied},
    {"ac", kImplied, "the kernel accounts for private writable memory"},
    {"de", kImplied, "set by the driver whose object is mapped"},
    {"mm", kImplied, "set by the file system (DAX) or driver whose object is mapped"},
    {"gd", kRestored, "MAP_GROWSDOWN"},
    {"lo", kRestored, "mlock2"},
    {"lf", kRestored, "mlock2(MLOCK_ONFAULT)"},
    {"sr", kRestored, "MADV_SEQUENTIAL"},
    {"rr", kRestored, "MADV_RANDOM"},
    {"dc", kRestored, "MADV_DONTFORK"},
    {"dd", kRestored, "MADV_DONTDUMP"},
    {"wf", kRestored, "MADV_WIPEONFORK"},
    {"hg", kRestored, "MADV_HUGEPAGE"},
    {"nh", kRestored, "MADV_NOHUGEPAGE"},
    {"mg", kRestored, "MADV_MERGEABLE"},
    {"nr", kRestored, "MAP_NORESERVE"},
    {"gu", kRestored, "MADV_GUARD_INSTALL, page by page"},
    {"dp", kRestored, "MAP_DROPPABLE, without contents"},
    {"sl", kRestored, "mseal"},
    {"sd", kLeft, "soft-dirty: whoever tracks writes"},
    {"ht", kRefused, "huge pages of hugetlbfs cannot be saved yet",
     "start it with its huge pages switched off, if it can; transparent ones can be saved"},
    {"um", kRefused, kUserfault},
    {"ui", kRefused, kUserfault},
    {"uw", kRefused, "writes there are watched by userfaultfd, which cannot be saved"},
    {"ss", kRefused, "it is a shadow stack (CET), which cannot be moved to another process",
     "start the program with GLIBC_TUNABLES=glibc.cpu.x86_shstk=off"},
    {"io", kRefused, kDevice},
    {"pf", kRefused, kDevice},
    {"sf", kRefused, "it is mapped with MAP_SYNC (persistent memory), which cannot be saved yet"},
    {"mt", kRefused, "it has memory tags (PROT_MTE), which cannot be saved"},
    {"bt", kRefused, "it is guarded code (PROT_BTI), which cannot be saved yet"},
    {"ar", kRefused, "it has a mark of this architecture that cannot be saved"},
};

}  // namespace

std::span<const VmFlag> vm_flags() {
  return kFlags;
}

const VmFlag* find_vm_flag(std::string_view letters) {
  const auto* found = std::ranges::find(kFlags, letters, &VmFlag::letters);
  return found == std::end(kFlags) ? nullptr : found;
}

}  // namespace stasis::model
