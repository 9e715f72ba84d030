// timerfds. A relative timer goes on with the time it had left; one set to a point in time
// (TFD_TIMER_ABSTIME) keeps it, as far as its clock is the same one: CLOCK_REALTIME always, the
// others as far as the time namespace of a restart, or a shift, makes it so. Armed in settle, so
// that building the process does not count. Expirations that nobody read come back by
// TFD_IOC_SET_TICKS, or by a start in the past where the kernel was built without it.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>

#include <unistd.h>

#include <cerrno>
#include <ctime>
#include <limits>
#include <utility>

#include "base/saturated.h"
#include "base/sys.h"
#include "proc/status.h"
#include "resource/kinds.h"
#include "resource/uses.h"

#ifndef TFD_IOC_SET_TICKS
#define TFD_IOC_SET_TICKS _IOW('T', 0, unsigned long long)
#endif

namespace stasis::resource {
namespace {

using model::TimerFd;

constexpr i64 kSecond = 1'000'000'000;  // ns
constexpr i64 kMostTicks = std::numeric_limits<i64>::max();

bool recognises(const FdFacts& facts) {
  return facts.info.has_timerfd;
}

bool is_alarm(i32 clock) {
  return clock == CLOCK_REALTIME_ALARM || clock == CLOCK_BOOTTIME_ALARM;
}

// The clock that can always be read, for one that wakes the machine.
clockid_t readable_clock(i32 clock) {
  if (clock == CLOCK_REALTIME_ALARM) return CLOCK_REALTIME;
  return clock == CLOCK_BOOTTIME_ALARM ? CLOCK_BOOTTIME : clock;
}

i64 now_ns(i32 clock) {
  struct timespec now = {};
  (void)::clock_gettime(readable_clock(clock), &now);  // the clock exists: a timer runs by it
  return now.tv_sec * kSecond + now.tv_nsec;
}

// What the time namespace of the process adds to a clock that we see.
i64 offset_ns(i32 clock, Pid pid) {
  const proc::TimeOffsets theirs = proc::read_time_offsets(pid);
  const proc::TimeOffsets ours = proc::read_time_offsets(::getpid());
  if (clock == CLOCK_MONOTONIC) return theirs.monotonic_ns - ours.monotonic_ns;
  if (readable_clock(clock) == CLOCK_BOOTTIME) return theirs.boottime_ns - ours.boottime_ns;
  return 0;
}

struct timespec timespec_of(i64 ns) {
  return {ns / kSecond, ns % kSecond};
}

// A periodic timer that has expired unread shows no time left in fdinfo; asking for it makes the
// kernel count its expirations and go on, which nobody can tell from what a read would have done.
// The facts at hand are older than this moment, so fdinfo is read again; with a short interval the
// timer may have expired once more by then.
Result<proc::TimerFdEntry> current_state(const FdFacts& facts) {
  constexpr int kMostReadings = 16;
  const bool periodic = facts.info.timerfd.interval_ns != 0;
  for (int reading = 1;; ++reading) {
    if (periodic) {
      struct itimerspec state = {};
      TRY(sys::check(::timerfd_gettime(facts.duplicate.get(), &state), "ask for the time left of",
                     facts.describe()));
    }
    const proc::TimerFdEntry now = TRY(proc::read_fdinfo(facts.pid, facts.number)).timerfd;
    if (!periodic || now.value_ns != 0 || now.ticks == 0 || reading == kMostReadings) return now;
  }
}

Result<model::Resource> capture(const FdFacts& facts, CaptureContext&) {
  proc::TimerFdEntry state = TRY(current_state(facts));
  // It ran when its process had just been frozen, and nobody has stopped it since: no time left and
  // no expiration yet means that the kernel is about to count one.
  if (facts.info.timerfd.value_ns != 0 && state.value_ns == 0 && state.ticks == 0) state.ticks = 1;
  TimerFd timer;
  timer.clock = state.clock;
  timer.settime_flags = state.settime_flags;
  timer.ticks = state.ticks;
  timer.value_ns = state.value_ns;
  timer.interval_ns = state.interval_ns;
  timer.captured_ns = now_ns(state.clock) + offset_ns(state.clock, facts.pid);
  return model::Resource(timer);
}

// ------------------------------------------------------------------ restart

Result<UniqueFd> make(i32 clock) {
  return UniqueFd(TRY(sys::check(::timerfd_create(clock, TFD_CLOEXEC), "make",
                                 fmt::format("a timer of clock {}", clock))));
}

std::vector<Refusal> restore_obstacles(const model::Resource& resource,
                                       const RestoreContext& context) {
  const auto& timer = std::get<TimerFd>(resource);
  const auto made = make(timer.clock);
  if (made) return {};
  return {{subject_of(context.image, resource, "timerfd"), made.error().message(),
           is_alarm(timer.clock) ? "timers that wake the machine need CAP_WAKE_ALARM" : ""}};
}

Result<UniqueFd> create(model::OpenFileIndex index, RestoreContext& context) {
  const model::OpenFile& open_file = context.image.open_files[index];
  const auto& timer = std::get<TimerFd>(context.image.resources[open_file.resource]);
  return make(timer.clock).context(subject_of(context.image, index, "timerfd"));
}

bool kernel_sets_ticks() {
  const auto probe = make(CLOCK_MONOTONIC);
  const unsigned long long one = 1;
  return probe.ok() && ::ioctl(probe->get(), TFD_IOC_SET_TICKS, &one) == 0;
}

// What a clock of the process says.
i64 its_now_ns(i32 clock, const RestoreContext& context) {
  return saturated_sum(now_ns(clock), context.clocks.of(readable_clock(clock)).ours_ns);
}

// When a timer set to a point in time must expire, on the process's clock.
i64 expiry_ns(const TimerFd& timer, i64 left_ns, const RestoreContext& context) {
  const i64 shift_ns = context.clocks.of(readable_clock(timer.clock)).image_ns;
  return saturated_sum(saturated_sum(timer.captured_ns, shift_ns), left_ns);
}

// What to set a timer to, and how many expirations to put into it afterwards.
struct Setting {
  u32 flags = 0;
  i64 value_ns = 0;
  u64 ticks = 0;
};

Setting setting_of(const TimerFd& timer, const RestoreContext& context) {
  Setting setting{timer.settime_flags, timer.value_ns, timer.ticks};
  // Expired once more while it was being looked at: it runs all the same (0 would stop it).
  if (setting.value_ns == 0 && timer.ticks != 0) setting.value_ns = timer.interval_ns;
  if (timer.ticks != 0 && !kernel_sets_ticks()) {
    // Started so many intervals ago that reading gives the ticks and the next one comes in time.
    setting.flags |= TFD_TIMER_ABSTIME;
    const i64 ticks = std::in_range<i64>(timer.ticks) ? static_cast<i64>(timer.ticks) : kMostTicks;
    const i64 started_ns = saturated_difference(its_now_ns(timer.clock, context),
                                                saturated_product(ticks, timer.interval_ns));
    setting.value_ns = saturated_sum(setting.value_ns, started_ns);
    if (timer.interval_ns == 0) setting.value_ns = saturated_difference(setting.value_ns, 1);
    setting.ticks = 0;
  } else if ((timer.settime_flags & TFD_TIMER_ABSTIME) != 0 && setting.value_ns != 0) {
    setting.value_ns = expiry_ns(timer, setting.value_ns, context);
    // Its moment has come by now: that expiration is counted before the others are set.
    if (setting.ticks != 0 && setting.value_ns <= its_now_ns(timer.clock, context)) ++setting.ticks;
  }
  return setting;
}

void settle(const model::Descriptor& descriptor, RestoreContext& context, SettleCalls& calls) {
  const model::OpenFile& file = context.image.open_files[descriptor.open_file];
  const auto& timer = std::get<TimerFd>(context.image.resources[file.resource]);
  const Setting setting = setting_of(timer, context);
  const auto number = static_cast<u64>(descriptor.number);
  const std::string name = fmt::format("timerfd {}", descriptor.number);
  if (setting.value_ns != 0 || setting.flags != 0 || timer.interval_ns != 0) {
    struct itimerspec times = {};
    times.it_value = timespec_of(setting.value_ns);
    times.it_interval = timespec_of(timer.interval_ns);
    calls.script->call("start " + name, SYS_timerfd_settime,
                       {number, u64{setting.flags}, calls.script->object(times), u64{0}});
  }
  if (setting.ticks != 0) {
    calls.script->call("set the expirations of " + name, SYS_ioctl,
                       {number, u64{TFD_IOC_SET_TICKS}, calls.script->object(setting.ticks)});
  }
}

}  // namespace

const Handler kTimerFdHandler = {
    .kind = TimerFd::kKind,
    .recognises = recognises,
    .obstacle = [](const FdFacts&, CaptureContext&) { return std::optional<Refusal>(); },
    .identity = [](const FdFacts&) { return std::string(); },
    .capture = capture,
    .restore_obstacles = restore_obstacles,
    .create = create,
    .settle = settle};

}  // namespace stasis::resource
