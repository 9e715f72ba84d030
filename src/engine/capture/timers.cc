// getitimer(2), timer_gettime(2) inside; PTRACE_PEEKSIGINFO from outside.
#include "capture/timers.h"

#include <sys/time.h>
#include <time.h>

#include <algorithm>
#include <limits>

#include "base/saturated.h"
#include "capture/asker.h"
#include "capture/facts.h"
#include "proc/status.h"

namespace stasis::capture {
namespace {

struct KernelTimerSpec {
  i64 interval_s, interval_ns, value_s, value_ns;
};
struct KernelTimerValue {
  i64 interval_s, interval_us, value_s, value_us;
};

constexpr i64 kSecondUs = 1'000'000;
// For timers with an interval that is shorter than a reading takes: those always expire meanwhile.
constexpr int kMostReadings = 16;

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
                                 .value_ns = saturated_ns(time.value_s, time.value_ns),
                                 .interval_ns = saturated_ns(time.interval_s, time.interval_ns),
                                 .overrun = static_cast<i32>(overrun)});
    if (entry.id < std::numeric_limits<i32>::max()) {  // behind which the kernel begins again
      into.next_timer_id = std::max(into.next_timer_id, entry.id + 1);
    }
  }
  return {};
}

// `left` of 0: it has expired, or was never started.
bool has_expired(i64 before, i64 left) {
  return before != 0 && (left == 0 || left > before);
}

template <class Timer, class Key, class Left>
bool all_go_on(const std::vector<Timer>& before, const std::vector<Timer>& after, Key key,
               Left left) {
  return std::ranges::all_of(before, [&](const Timer& timer) {
    const auto now = std::ranges::find(after, timer.*key, key);
    return !has_expired(timer.*left, now == after.end() ? 0 : (*now).*left);
  });
}

bool has_timers(const model::Process& process) {
  return !process.interval_timers.empty() || !process.posix_timers.empty();
}

Result<void> read_signals(trace::FrozenProcess& process, model::Process& into) {
  for (size_t i = 0; i < process.threads.size(); ++i) {
    if (process.threads[i].zombie) continue;
    into.threads[i].pending = TRY(pending_signals(process.threads[i].tid, false));
  }
  into.pending = TRY(pending_signals(process.any_live_tid(), true));
  return {};
}

}  // namespace

Result<void> ask_timers(trace::FrozenProcess& process, trace::RemoteCalls& calls,
                        model::Process& into) {
  Asker ask(process, calls);
  into.interval_timers.clear();
  into.posix_timers.clear();
  TRY(ask_interval_timers(ask, into));
  return ask_posix_timers(process.pid, ask, into);
}

bool no_timer_expired(const model::Process& before, const model::Process& after) {
  return all_go_on(before.interval_timers, after.interval_timers, &model::IntervalTimer::which,
                   &model::IntervalTimer::value_us) &&
         all_go_on(before.posix_timers, after.posix_timers, &model::PosixTimer::id,
                   &model::PosixTimer::value_ns);
}

Result<void> capture_signals(trace::FrozenProcess& process, model::Process& into) {
  if (!has_timers(into)) return read_signals(process, into);
  const auto alive = std::ranges::find(process.threads, false, &trace::FrozenThread::zombie);
  if (alive == process.threads.end()) return fail(ESRCH, "no thread of the process is alive");
  trace::RemoteCalls calls = TRY(trace::RemoteCalls::begin(process, *alive));
  bool settled = false;
  for (int i = 0; i < kMostReadings && !settled; ++i) {
    model::Process before;
    before.interval_timers = into.interval_timers;
    before.posix_timers = into.posix_timers;
    TRY(read_signals(process, into));
    TRY(ask_timers(process, calls, into));
    settled = no_timer_expired(before, into);
  }
  if (!settled) TRY(read_signals(process, into));  // rather an expiration twice than never
  return calls.finish();
}

}  // namespace stasis::capture
