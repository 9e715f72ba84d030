// ptrace(2) and waitid(2), typed. These are the only callers of both.
// Stops of living targets are looked at with WNOWAIT: a signal-delivery-stop that was consumed
// loses its signal if we die (docs/design/freezing.md).
#pragma once

#include <signal.h>

#include <optional>
#include <vector>

#include "arch/registers.h"
#include "base/result.h"
#include "base/types.h"

namespace stasis::trace {

Result<void> seize(Pid tid, u64 options);
Result<void> interrupt(Pid tid);
Result<void> detach(Pid tid, int signal = 0);
Result<void> resume(Pid tid, int signal = 0);          // PTRACE_CONT
Result<void> resume_to_call(Pid tid, int signal = 0);  // PTRACE_SYSCALL
Result<void> set_options(Pid tid, u64 options);

Result<arch::Registers> get_registers(Pid tid);
Result<void> set_registers(Pid tid, const arch::Registers& registers);
// One word of the user area (offsets of struct user).
Result<u64> peek_user(Pid tid, u64 offset);
Result<void> poke_user(Pid tid, u64 offset, u64 value);

struct ExtendedState {
  Bytes bytes;
  bool legacy = false;  // NT_PRFPREG: the machine has no xsave
};
Result<ExtendedState> get_extended_state(Pid tid);
Result<void> set_extended_state(Pid tid, const ExtendedState& state);

Result<u64> get_signal_mask(Pid tid);
Result<void> set_signal_mask(Pid tid, u64 mask);
// Queued signals, oldest first: of the thread, or of its whole process.
Result<std::vector<siginfo_t>> peek_signals(Pid tid, bool process_wide);
Result<siginfo_t> get_siginfo(Pid tid);
Result<u64> event_message(Pid tid);

struct RseqConfiguration {
  RemoteAddr address;
  u32 size = 0;
  u32 signature = 0;
};
Result<std::optional<RseqConfiguration>> get_rseq(Pid tid);  // nullopt: none, or kernel cannot tell
// Whether syscall user dispatch is on; false where the kernel cannot tell.
Result<bool> has_user_dispatch(Pid tid);

// A stop, an exit, or a death, as waitid reports it.
struct Stop {
  Pid tid = 0;
  int code = 0;    // CLD_TRAPPED, CLD_EXITED, CLD_KILLED, ...
  int status = 0;  // si_status: for stops signal | event << 8, for exits the status
  [[nodiscard]] bool alive() const { return code == CLD_TRAPPED || code == CLD_STOPPED; }
  [[nodiscard]] int event() const { return status >> 8; }
  [[nodiscard]] int signal() const { return status & 0xff; }
};
// Waits for a stop or the end of `tid`; `consume` false leaves it waitable (WNOWAIT).
// ETIMEDOUT when `timeout_ms` (>= 0) passes first.
Result<Stop> wait_for(Pid tid, bool consume, i64 timeout_ms = -1);
// The same without waiting; nullopt when there is nothing.
Result<std::optional<Stop>> poll_for(Pid tid, bool consume);

}  // namespace stasis::trace
