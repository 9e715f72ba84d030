// A tracer sees every signal before its tracee does, one that the tracee ignores too. The signal
// must do nothing if the tracer passes it on: at first one that is ignored by default, for which no
// handler runs and no call is broken off; if that does not move the tracer, the one that BLCR sent,
// provided that the process has libcr, whose handler does nothing.
#include "engine/tracer_call.h"

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "arch/call_class.h"
#include "base/sys.h"
#include "notify/notify.h"
#include "proc/status.h"

namespace stasis::engine {
namespace {

constexpr i64 kPatienceMs = 1000;
constexpr int kCheckpointSignal = 64;  // CR_SIGNUM

bool contains(u64 mask, int signal) {
  return (mask >> (signal - 1) & 1) != 0;
}

// 0: none that would do nothing.
int harmless_signal(Pid pid, const proc::Status& thread, bool again) {
  if (again) {
    const bool handled =
        contains(thread.caught, kCheckpointSignal) && !contains(thread.blocked, kCheckpointSignal);
    return handled && !notify::find_blocks(std::span(&pid, 1)).empty() ? kCheckpointSignal : 0;
  }
  for (const int signal : {SIGURG, SIGWINCH, SIGCHLD}) {
    if (!contains(thread.caught | thread.blocked, signal)) return signal;
  }
  return 0;
}

// In a call that any stop would end with EINTR.
bool is_disturbed(Pid pid, Pid tid) {
  const auto call = proc::read_syscall(pid, tid);
  return call.ok() && !call->running && arch::returns_eintr(call->number);
}

bool send(Pid pid, bool again, bool disturb) {
  const auto tids = proc::read_threads(pid);
  if (!tids) return false;
  for (const Pid tid : *tids) {
    const auto status = proc::read_status(pid, tid);
    // In a stop already ('t'): the tracer has seen it.
    if (!status || status->tracer == 0 || status->state == 't' || status->state == 'Z') continue;
    const int signal = harmless_signal(pid, *status, again);
    if (signal == 0 || (!disturb && is_disturbed(pid, tid))) continue;
    if (::syscall(SYS_tgkill, pid, tid, signal) == 0) return true;
  }
  return false;
}

}  // namespace

void TracerCalls::call(Pid pid) {
  const auto [found, is_new] = called_.try_emplace(pid);
  Called& called = found->second;
  if (is_new) called.quiet = Deadline(kPatienceMs);
  constexpr int kMostSignals = 2;
  if (called.signals >= kMostSignals) return;
  const bool again = called.signals == 1;
  if (again && !called.quiet.passed()) return;
  if (!send(pid, again, called.quiet.passed())) {
    // No signal of the first kind will do.
    if (!again && called.quiet.passed()) called.signals = 1;
    return;
  }
  ++called.signals;
  called.quiet = Deadline(kPatienceMs);
}

}  // namespace stasis::engine
