// What only the target itself can tell, asked by insured calls (trace/remote_call.h): signal
// actions, a few prctl values, alternate stacks, and which pages of shared objects exist.
#pragma once

#include <vector>

#include "base/result.h"
#include "model/process.h"
#include "proc/maps.h"
#include "trace/freeze.h"
#include "trace/remote_call.h"

namespace stasis::capture {

// Signal actions, subreaper, dumpable, securebits, THP switch, program break.
Result<void> ask_process(trace::FrozenProcess& process, trace::RemoteCalls& calls,
                         model::Process& into);
// Alternate stack, tid address, parent-death signal, timer slack of the thread behind `calls`.
Result<void> ask_thread(trace::FrozenProcess& process, trace::RemoteCalls& calls,
                        model::Thread& into);
// The pages of a shared mapping that exist in the object it maps (mincore(2)), as runs of the
// object's content.
Result<std::vector<model::Run>> resident_runs(trace::FrozenProcess& process,
                                              trace::RemoteCalls& calls, const proc::Area& area);

}  // namespace stasis::capture
