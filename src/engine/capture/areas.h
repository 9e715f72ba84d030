// The memory part of the model: areas of /proc/PID/smaps -> model::Vma, and which pages of them an
// image must hold. The conversion is pure; reading pages is pagemap's business.
#pragma once

#include <functional>
#include <vector>

#include "base/result.h"
#include "capture/capture.h"
#include "model/image.h"
#include "proc/maps.h"

namespace stasis::capture {

// Finds or makes the resource that a file area maps (regular file, memfd, shared anonymous memory).
using ResourceOfArea = std::function<Result<model::ResourceIndex>(const proc::Area&)>;

// Areas that cannot be saved, each named (device memory, io_uring, SysV shm, userfaultfd, ...).
std::vector<Refusal> area_refusals(Pid pid, const std::vector<proc::Area>& areas);

// Marks of areas that will be lost, a sentence each.
std::vector<std::string> area_notes(Pid pid, const std::vector<proc::Area>& areas);

// Whether an area is the kernel's own: [vdso], [vvar], [vvar_vclock], [vsyscall].
bool is_kernels_own(const proc::Area& area);

// Whether an area maps a file (memfd and shared anonymous memory included).
bool maps_file(const proc::Area& area);

Result<std::vector<model::Vma>> to_vmas(const std::vector<proc::Area>& areas,
                                        const ResourceOfArea& resource_of);

// The runs of the process's address space that the image must hold. `pid`: any live tid of it.
Result<std::vector<model::Run>> memory_runs(Pid pid, const std::vector<proc::Area>& areas);

// The pages of shared mappings that this process has touched, as runs of the mapped object's
// content. Others may exist in the object: resident_runs() (inside.h) sees all of them.
Result<std::vector<model::Run>> shared_runs(Pid pid, const std::vector<proc::Area>& mappings);

}  // namespace stasis::capture
