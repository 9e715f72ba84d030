// The letters of VmFlags (proc(5), smaps) that mean something to be asked for again: advice, locks,
// names, seals. Pure.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "model/image.h"
#include "trace/script.h"

namespace stasis::restart {

inline constexpr int kMadvGuardInstall = 102;  // Linux 6.13
inline constexpr long kSysMseal = 462;         // Linux 6.10
inline constexpr int kMapDroppable = 0x08;     // a type like MAP_PRIVATE

// madvise(2) calls for what is to be known before the contents come.
void add_advice(const std::string& what, const model::Vma& vma, trace::Script& script);
// PR_SET_VMA_ANON_NAME; a kernel without such names lacks nothing but the name.
void add_name(const model::Vma& vma, trace::Script& script);
// mlock2(2) and mlockall(MCL_FUTURE).
void add_locks(const model::Image& image, const model::Process& process, trace::Script& script);
// Locked bytes of a process.
u64 locked_bytes(const model::Process& process);

// Why an area's flags cannot be had again, for people; empty: they can.
std::vector<std::string> unsupported_flags(const model::Vma& vma);

bool kernel_knows_droppable();  // MAP_DROPPABLE, Linux 6.11; asked of the kernel
// The marks that the areas of a process come back without, a sentence for each sort.
std::vector<std::string> lost_marks(const model::Image& image, const model::Process& process,
                                    bool droppable_known);

}  // namespace stasis::restart
