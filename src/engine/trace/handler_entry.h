// Sends a frozen thread into a signal handler when it is let go, without a signal: a frame of the
// kernel's form lies on its stack below the red zone, and rt_sigreturn leads back to what it did.
// Works where the signal would be blocked, ignored, or handled by the program itself. If we die
// before the thread's registers are set nothing has happened; after that the handler runs and
// returns.
#pragma once

#include <span>

#include "base/result.h"
#include "proc/maps.h"
#include "trace/freeze.h"

namespace stasis::trace {

struct HandlerEntry {
  RemoteAddr handler;   // void handler(int, siginfo_t *, void *)
  RemoteAddr restorer;  // calls rt_sigreturn(2)
  int signal = 0;
  u64 value = 0;  // siginfo.si_value; si_code is SI_QUEUE
};

// The thread will run the handler with all signals blocked. The call it was in is begun again
// afterwards, sigsuspend(2) and pause(2) return EINTR. EOPNOTSUPP: call_obstacle(), no room on the
// stack. `areas` are those of the process, which its other threads need too.
Result<void> enter_handler(FrozenProcess& process, FrozenThread& thread, const HandlerEntry& entry,
                           std::span<const proc::Area> areas);
Result<void> enter_handler(FrozenProcess& process, FrozenThread& thread, const HandlerEntry& entry);

// Lets a thread in sigsuspend(2) or pause(2) return EINTR when it is let go; false: it is in none.
Result<bool> end_signal_wait(FrozenProcess& process, FrozenThread& thread);

}  // namespace stasis::trace
