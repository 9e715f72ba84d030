// What is done with a thread once all are stopped and before anybody looks at it. Internal to
// trace/.
#pragma once

#include "trace/freeze.h"
#include "trace/freezer.h"

namespace stasis::trace {

// Whether the thread still stands on the signal frame of a checkpointer that was killed a moment
// ago: it has to run on to be itself again.
bool is_leftover(const HeldThread& thread, const RemoteMemory& memory);

// A thread inside a restartable sequence goes to its abort address, as the kernel would send it
// after any preemption; otherwise calls made in between would hide the sequence from the kernel.
Result<void> abort_rseq(HeldThread& thread, const RemoteMemory& memory);

// Everything FrozenThread says.
Result<FrozenThread> describe(const HeldThread& thread, const RemoteMemory& memory);

}  // namespace stasis::trace
