// What /proc and other calls from outside tell of frozen processes and their threads, as model
// values. Nothing here touches the target.
#pragma once

#include "base/result.h"
#include "model/image.h"
#include "proc/maps.h"
#include "trace/freeze.h"

namespace stasis::capture {

// Identity, credentials, directories, limits, pending signals: everything of model::Process that is
// visible from outside, but for memory, descriptors and threads.
Result<model::Process> process_facts(trace::FrozenProcess& process);

// Registers, masks, scheduling, pending signals: everything of model::Thread visible from outside.
Result<model::Thread> thread_facts(const trace::FrozenProcess& process,
                                   const trace::FrozenThread& thread);

// The marks of the address space; the break comes from inside.
Result<model::MemoryMarks> memory_marks(const trace::FrozenProcess& process);

// This machine and this moment; `vdso` from the areas of the first process.
Result<model::Origin> origin_facts(const trace::FrozenProcess& process,
                                   const std::vector<proc::Area>& areas);

}  // namespace stasis::capture
