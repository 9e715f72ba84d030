// What /proc and other calls from outside tell of frozen processes and their threads, as model
// values. Nothing here touches the target.
#pragma once

#include "base/result.h"
#include "model/image.h"
#include "proc/maps.h"
#include "trace/freeze.h"

namespace stasis::capture {

// What a process and its threads show while they run: of the process identity, credentials,
// directories, limits; of the threads ids, names, scheduling.
Result<model::Process> visible_facts(Pid pid);
Result<model::Thread> visible_thread_facts(Pid pid, Pid tid);

// Identity, credentials, directories, limits: everything of model::Process that is visible from
// outside, but for memory, descriptors, threads, and signals (timers.h).
Result<model::Process> process_facts(trace::FrozenProcess& process);

// Registers, masks, scheduling: everything of model::Thread visible from outside, but for signals.
Result<model::Thread> thread_facts(const trace::FrozenProcess& process,
                                   const trace::FrozenThread& thread);

// What is pending for one thread, or through it for its process: siginfo_t each, in queue order.
Result<std::vector<Bytes>> pending_signals(Pid tid, bool process_wide);

// The marks of the address space; the break comes from inside.
Result<model::MemoryMarks> memory_marks(const trace::FrozenProcess& process);

// This machine and this moment; `vdso` from the areas of the first process.
Result<model::Origin> origin_facts(const trace::FrozenProcess& process,
                                   const std::vector<proc::Area>& areas);

}  // namespace stasis::capture
