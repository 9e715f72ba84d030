// Freeze: holds every thread of some processes still, and lets them go again exactly as they were.
// SEIZE and INTERRUPT only; nothing of the targets changes but that they do not run. If we are
// killed the kernel lets all go on. Threads in calls that return EINTR when disturbed
// (epoll_wait and its class) come last, one by one, and get -ERESTARTNOHAND as the very first act.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "arch/registers.h"
#include "base/result.h"
#include "base/types.h"
#include "trace/ptrace.h"
#include "trace/remote_memory.h"

namespace stasis::trace {

class CallSite;  // what remote calls need to know of a process, found once (trace/call_site.h)

struct FrozenThread {
  Pid tid = 0;
  arch::Registers registers;  // raw, as they go back: rax may be -512..-516
  u64 blocked_signals = 0;
  bool zombie = false;        // leader that has exited; only tid is meaningful
  i64 interrupted_call = -1;  // number of the call it was in, found out behind restart_syscall
  i64 remaining_ns = -1;      // time that call had left; -1: no relative timeout, or not known
};

struct FrozenProcess {
  Pid pid = 0;
  bool stopped = false;               // was in a group stop (SIGSTOP) and will be again
  int stop_signal = 0;                // what stopped it then (SIGSTOP, SIGTSTP, ...)
  std::vector<FrozenThread> threads;  // the leader first, then ascending
  RemoteMemory memory;
  std::shared_ptr<CallSite> call_site;
  [[nodiscard]] Pid any_live_tid() const;  // whose /proc entries work even if the leader exited
};

// Who is to be held, asked anew in every round: processes that are alive now, parents before their
// children. ESRCH when there is nobody.
using Members = std::function<Result<std::vector<Pid>>()>;

class Freeze {
 public:
  // Freezes all threads of `pids`, within `timeout_ms`; negative: within ten seconds, because those
  // that stand already wait for the others. ETIMEDOUT names the threads that did not stop; then, as
  // after any error, everything runs again. EPERM tells why (tracer, Yama scope, other user) with a
  // hint.
  static Result<Freeze> take(std::span<const Pid> pids, i64 timeout_ms);
  // Freezes all members, also those that are born meanwhile, until nothing that belongs to them
  // runs; those that end are let go. A child that still runs in its parent's memory (vfork) is held
  // only when it has let go of it, as its parent cannot stop before; ETIMEDOUT names both.
  static Result<Freeze> take(const Members& members, i64 timeout_ms);
  Freeze(Freeze&&) noexcept;
  Freeze& operator=(Freeze&&) noexcept;
  ~Freeze();  // thaws

  std::vector<FrozenProcess>& processes();
  // Lets everything run on. An error names what could not be let go (it had died).
  Result<void> thaw();
  // Microseconds from the first interrupt to now (or to the thaw).
  [[nodiscard]] i64 pause_us() const;

  class State;

 private:
  explicit Freeze(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// Why `pid` cannot be traced by us, asked from what is always visible (user, tracer, dumpable, Yama
// scope), without touching it; nullopt when nothing speaks against it. `code` is EPERM or kPtraced.
std::optional<Error> tracing_obstacle(Pid pid);

// Why system calls must not be made inside a thread (seccomp filter, shadow stack): EOPNOTSUPP.
// Asked from what is always visible, without touching it.
std::optional<Error> call_obstacle(Pid pid, Pid tid);

}  // namespace stasis::trace
