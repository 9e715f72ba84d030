// timer_create(2) and setitimer(2). Timers start with the time they had left.
#include "restart/timers.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "base/sys.h"
#include "restart/signals.h"

namespace stasis::restart {
namespace {

constexpr int kPrTimerCreateRestoreIds = 77;
constexpr u64 kOff = 0, kOn = 1, kGet = 2;
constexpr i64 kSecondNs = 1'000'000'000;
constexpr i64 kSecondUs = 1'000'000;

struct TimeSpec {
  i64 seconds, nanoseconds;
};
struct TimerTimes {
  TimeSpec interval, value;
};
TimeSpec as_timespec(i64 ns) {
  return {ns / kSecondNs, ns % kSecondNs};
}

// struct sigevent, which is 64 bytes for the kernel.
struct Event {
  u64 value;
  i32 signal;
  i32 notify;
  i32 tid;
  u8 rest[44];
};
static_assert(sizeof(Event) == 64);

Pid translated(Pid id, const std::map<Pid, Pid>& ids) {
  const auto found = ids.find(id);
  return found == ids.end() ? id : found->second;
}

// CPU clocks of other processes and threads carry an inverted id above three bits of kind:
// clock_getcpuclockid(3).
i32 translated_clock(i32 clock, const std::map<Pid, Pid>& ids) {
  if (clock >= 0) return clock;
  const Pid id = ~(clock >> 3);
  if (id == 0) return clock;
  return static_cast<i32>(static_cast<u32>(~translated(id, ids)) << 3 |
                          (static_cast<u32>(clock) & 7));
}

// A thread's CPU clock is that of the thread that creates the timer.
Pid creator_of(const model::Process& process, const model::PosixTimer& timer) {
  const bool of_thread = timer.clock == CLOCK_THREAD_CPUTIME_ID;
  if (of_thread && (timer.notify & SIGEV_THREAD_ID) != 0) return timer.tid;
  return process.pid;
}

bool is_pending(const model::Process& process, int signal) {
  return std::ranges::any_of(process.pending,
                             [signal](const Bytes& info) { return signal_of(info) == signal; });
}

TimerStep step_for(const model::Process& process, const model::PosixTimer& timer,
                   const std::map<Pid, Pid>& ids) {
  TimerStep step;
  step.tid = creator_of(process, timer);
  step.expected_id = timer.id;
  Event event = {.value = timer.value.value, .signal = timer.signal, .notify = timer.notify};
  if ((timer.notify & SIGEV_THREAD_ID) != 0) event.tid = translated(timer.tid, ids);
  const trace::DataRef event_data = step.script.object(event);
  step.id = step.script.object(i64{timer.id});
  const TimerTimes times = {as_timespec(timer.interval_ns), as_timespec(timer.value_ns)};
  const trace::DataRef times_data = step.script.object(times);
  const auto clock = static_cast<u64>(static_cast<i64>(translated_clock(timer.clock, ids)));
  step.script.call(fmt::format("create timer {}", timer.id), SYS_timer_create,
                   {clock, event_data, step.id});
  step.script.call(fmt::format("start timer {}", timer.id), SYS_timer_settime,
                   {static_cast<u64>(timer.id), u64{0}, times_data, u64{0}});
  return step;
}

trace::Script switch_ids(u64 on) {
  trace::Script script;
  script.call("choose timer ids", SYS_prctl,
              {u64{kPrTimerCreateRestoreIds}, on, u64{0}, u64{0}, u64{0}});
  return script;
}

}  // namespace

bool timer_ids_can_be_chosen() {
  return sys::check(::prctl(kPrTimerCreateRestoreIds, kGet, 0, 0, 0), "ask", "the kernel").ok();
}

trace::Script count_script(const TimerStep& step) {
  trace::Script script;
  const trace::DataRef id = script.room(sizeof(u64));
  const Event none = {.notify = SIGEV_NONE};
  const trace::DataRef event = script.object(none);
  for (i32 next = step.count_from; next < step.count_to; ++next) {
    script.call("count timer ids", SYS_timer_create, {u64{CLOCK_MONOTONIC}, event, id});
    script.call("count timer ids", SYS_timer_delete, {static_cast<u64>(next)});
  }
  return script;
}

std::vector<TimerStep> timer_steps(const model::Process& process, const std::map<Pid, Pid>& ids,
                                   bool choose_ids) {
  std::vector<model::PosixTimer> timers = process.posix_timers;
  std::sort(timers.begin(), timers.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
  std::vector<TimerStep> steps;
  constexpr i32 kCountsPerStep = 10'000;
  i32 next = 0;
  for (const model::PosixTimer& timer : timers) {
    while (!choose_ids && next < timer.id) {
      const i32 last = next + std::min(timer.id - next, kCountsPerStep);
      steps.push_back(
          {.tid = process.pid, .expected_id = -1, .count_from = next, .count_to = last});
      next = last;
    }
    steps.push_back(step_for(process, timer, ids));
    next = timer.id < std::numeric_limits<i32>::max() ? std::max(next, timer.id + 1) : timer.id;
  }
  return steps;
}

void add_interval_timers(const model::Process& process, trace::Script& script) {
  for (const model::IntervalTimer& timer : process.interval_timers) {
    i64 value_us = timer.value_us;
    // It stands still until its SIGALRM is delivered. Set to no time left it would be off for ever;
    // so it expires at once, and its signal is the one that was pending anyway.
    if (value_us == 0 && timer.which == ITIMER_REAL && is_pending(process, SIGALRM)) value_us = 1;
    const TimerTimes times = {{timer.interval_us / kSecondUs, timer.interval_us % kSecondUs},
                              {value_us / kSecondUs, value_us % kSecondUs}};
    script.call(fmt::format("start interval timer {}", timer.which), SYS_setitimer,
                {static_cast<u64>(timer.which), script.object(times), u64{0}});
  }
}

Result<void> rebuild_timers(BuildState& state, size_t index) {
  const model::Process& process = state.process(index);
  Target& target = state.targets[index];
  const bool choose = timer_ids_can_be_chosen();
  const auto steps = timer_steps(process, state.ids_inside, choose);
  if (choose && !steps.empty()) (void)TRY(target.run(switch_ids(kOn)));
  for (const TimerStep& step : steps) {
    const trace::Script script = step.counts() ? count_script(step) : step.script;
    const auto outcome = TRY(target.run_in(translated(step.tid, state.ids), script));
    if (step.counts()) continue;
    i32 id = 0;
    std::memcpy(&id, outcome.data.data() + step.id.offset, sizeof id);
    if (id != step.expected_id) {
      return fail(EBUSY, fmt::format("the kernel made timer {} where {} was asked for", id,
                                     step.expected_id));
    }
  }
  if (choose && !steps.empty()) (void)TRY(target.run(switch_ids(kOff)));
  trace::Script script;
  add_interval_timers(process, script);
  (void)TRY(target.run(script));
  return {};
}

}  // namespace stasis::restart
