// Questions to the target itself. Each is a query that is harmless to finish should we die in it.
#include "capture/inside.h"

#include <fmt/format.h>
#include <linux/prctl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

#include <array>

#include "arch/cpu_features.h"
#include "base/sys.h"
#include "proc/status.h"

namespace stasis::capture {
namespace {

// The kernel's own layout, which is not the C library's struct sigaction.
struct KernelAction {
  u64 handler, flags, restorer, mask;
};
// What stack_t is on 64-bit machines.
struct KernelStack {
  u64 sp;
  i32 flags;
  i32 padding;
  u64 size;
};
struct KernelTimerSpec {
  i64 interval_s, interval_ns, value_s, value_ns;
};
struct KernelTimerValue {
  i64 interval_s, interval_us, value_s, value_us;
};

constexpr int kSignals = 64;
constexpr i64 kSecondNs = 1'000'000'000;
constexpr i64 kSecondUs = 1'000'000;

class Asker {
 public:
  Asker(trace::FrozenProcess& process, trace::RemoteCalls& calls)
      : process_(process), calls_(calls) {}

  // A call that must succeed.
  Result<i64> value(std::string_view what, i64 number, std::initializer_list<u64> args) {
    const i64 result = TRY(calls_.call(number, args));
    if (result >= 0) return result;
    return sys::error_of(static_cast<int>(-result), "ask",
                         fmt::format("process {} for {}", process_.pid, what));
  }
  // A call that fills a structure in the scratch area.
  template <class T>
  Result<T> object(std::string_view what, i64 number, std::initializer_list<u64> args) {
    (void)TRY(value(what, number, args));
    return TRY(process_.memory.read_object<T>(calls_.scratch()));
  }
  // prctl(2) queries that answer in the return value; 0 where the kernel does not know the option.
  Result<i64> prctl(int option) {
    const i64 result = TRY(calls_.call(SYS_prctl, {static_cast<u64>(option), 0, 0, 0, 0}));
    return result < 0 ? 0 : result;
  }
  [[nodiscard]] u64 scratch() const { return calls_.scratch().value; }

 private:
  trace::FrozenProcess& process_;
  trace::RemoteCalls& calls_;
};

Result<void> ask_actions(Asker& ask, model::Process& into) {
  for (int signal = 1; signal <= kSignals; ++signal) {
    if (signal == SIGKILL || signal == SIGSTOP) continue;
    const auto action = TRY(ask.object<KernelAction>(
        "its signal actions", SYS_rt_sigaction, {static_cast<u64>(signal), 0, ask.scratch(), 8}));
    if (action.handler == 0 && action.flags == 0 && action.mask == 0) continue;
    into.actions.push_back({.signal = signal,
                            .handler = {action.handler},
                            .flags = action.flags,
                            .restorer = {action.restorer},
                            .mask = action.mask});
  }
  return {};
}

Result<void> ask_interval_timers(Asker& ask, model::Process& into) {
  for (const int which : {ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF}) {
    const auto timer = TRY(ask.object<KernelTimerValue>("its interval timers", SYS_getitimer,
                                                        {static_cast<u64>(which), ask.scratch()}));
    const i64 value = timer.value_s * kSecondUs + timer.value_us;
    const i64 interval = timer.interval_s * kSecondUs + timer.interval_us;
    if (value == 0 && interval == 0) continue;
    into.interval_timers.push_back({.which = which, .value_us = value, .interval_us = interval});
  }
  return {};
}

Result<void> ask_posix_timers(Pid pid, Asker& ask, model::Process& into) {
  for (const proc::TimerEntry& entry : TRY(proc::read_timers(pid))) {
    const auto id = static_cast<u64>(entry.id);
    const auto time = TRY(
        ask.object<KernelTimerSpec>("its POSIX timers", SYS_timer_gettime, {id, ask.scratch()}));
    const i64 overrun = TRY(ask.value("a timer's overrun", SYS_timer_getoverrun, {id}));
    into.posix_timers.push_back({.id = entry.id,
                                 .clock = entry.clock,
                                 .notify = entry.notify,
                                 .signal = entry.signal,
                                 .value = entry.value,
                                 .tid = entry.target,
                                 .value_ns = time.value_s * kSecondNs + time.value_ns,
                                 .interval_ns = time.interval_s * kSecondNs + time.interval_ns,
                                 .overrun = static_cast<i32>(overrun)});
    into.next_timer_id = std::max(into.next_timer_id, entry.id + 1);
  }
  return {};
}

}  // namespace

Result<void> ask_process(trace::FrozenProcess& process, trace::RemoteCalls& calls,
                         model::Process& into) {
  Asker ask(process, calls);
  if (const auto query = arch::permission_query()) {
    // EINVAL where the kernel knows no such components (before Linux 5.16).
    if (TRY(calls.call(query->number, {query->option, ask.scratch()})) == 0) {
      into.state_permissions = TRY(process.memory.read_object<u64>(calls.scratch()));
    }
  }
  TRY(ask_actions(ask, into));
  TRY(ask_interval_timers(ask, into));
  TRY(ask_posix_timers(process.pid, ask, into));
  into.dumpable = static_cast<i32>(TRY(ask.prctl(PR_GET_DUMPABLE)));
  into.credentials.securebits = static_cast<u32>(TRY(ask.prctl(PR_GET_SECUREBITS)));
  into.memory.thp_disabled = TRY(ask.prctl(PR_GET_THP_DISABLE)) == 1;
  into.child_subreaper =
      TRY(ask.object<i32>("its subreaper mark", SYS_prctl,
                          {PR_GET_CHILD_SUBREAPER, ask.scratch(), 0, 0, 0})) != 0;
  into.memory.marks.brk = {static_cast<u64>(TRY(ask.value("its program break", SYS_brk, {0})))};
  return {};
}

Result<void> ask_thread(trace::FrozenProcess& process, trace::RemoteCalls& calls,
                        model::Thread& into) {
  Asker ask(process, calls);
  const auto stack =
      TRY(ask.object<KernelStack>("an alternate stack", SYS_sigaltstack, {0, ask.scratch()}));
  into.alternate_stack = {
      .sp = {stack.sp}, .flags = static_cast<u32>(stack.flags), .size = stack.size};
  const auto address = calls.call(SYS_prctl, {PR_GET_TID_ADDRESS, ask.scratch(), 0, 0, 0});
  if (TRY(address) == 0) {  // EINVAL where the kernel lacks CONFIG_CHECKPOINT_RESTORE
    into.tid_address = {TRY(process.memory.read_object<u64>(calls.scratch()))};
  }
  into.parent_death_signal = TRY(ask.object<i32>("its parent-death signal", SYS_prctl,
                                                 {PR_GET_PDEATHSIG, ask.scratch(), 0, 0, 0}));
  into.scheduling.timer_slack_ns = static_cast<u64>(TRY(ask.prctl(PR_GET_TIMERSLACK)));
  return {};
}

Result<std::vector<model::Run>> resident_runs(trace::FrozenProcess& process,
                                              trace::RemoteCalls& calls, const proc::Area& area) {
  std::vector<model::Run> runs;
  Asker ask(process, calls);
  std::array<std::byte, trace::RemoteCalls::kScratchSize> present;
  for (u64 done = 0; done < area.length();) {
    const u64 pages = std::min<u64>((area.length() - done) / kPageSize, present.size());
    (void)TRY(ask.value("pages of shared memory", SYS_mincore,
                        {area.start.value + done, pages * kPageSize, ask.scratch()}));
    TRY(process.memory.read(calls.scratch(), ByteSpan(present).first(pages)));
    for (u64 page = 0; page < pages; ++page) {
      if ((present[page] & std::byte{1}) == std::byte{0}) continue;
      const u64 offset = area.offset + done + page * kPageSize;
      if (!runs.empty() && runs.back().offset + runs.back().length == offset) {
        runs.back().length += kPageSize;
      } else {
        runs.push_back({.offset = offset, .length = kPageSize});
      }
    }
    done += pages * kPageSize;
  }
  return runs;
}

}  // namespace stasis::capture
