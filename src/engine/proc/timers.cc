// /proc/PID/timers: four lines a POSIX timer (proc_pid_timers(5)). Needs CONFIG_CHECKPOINT_RESTORE.
#include <fmt/format.h>
#include <signal.h>

#include <algorithm>

#include "base/sys.h"
#include "proc/status.h"
#include "proc/text.h"

namespace stasis::proc {
namespace {

constexpr std::string_view kFile = "/proc/PID/timers";

// "34/00007ffc0000004d"
Result<void> set_signal(TimerEntry& timer, std::string_view value, std::string_view line) {
  const size_t slash = value.find('/');
  if (slash == std::string_view::npos) return unreadable(kFile, line);
  timer.signal = TRY(number_of<i32>(value.substr(0, slash), kFile, line));
  timer.value.value = TRY(number_of<u64>(value.substr(slash + 1), kFile, line, 16));
  return {};
}

// "signal/pid.4711", "none/pid.4711", "thread/pid.4711"; "tid." means SIGEV_THREAD_ID.
Result<void> set_notify(TimerEntry& timer, std::string_view value, std::string_view line) {
  if (take_prefix(value, "signal/")) {
    timer.notify = SIGEV_SIGNAL;
  } else if (take_prefix(value, "none/")) {
    timer.notify = SIGEV_NONE;
  } else if (take_prefix(value, "thread/")) {
    timer.notify = SIGEV_THREAD;
  } else {
    return unreadable(kFile, line);
  }
  if (take_prefix(value, "tid.")) {
    timer.notify |= SIGEV_THREAD_ID;
  } else if (!take_prefix(value, "pid.")) {
    return unreadable(kFile, line);
  }
  timer.target = TRY(number_of<Pid>(value, kFile, line));
  return {};
}

}  // namespace

Result<std::vector<TimerEntry>> parse_timers(std::string_view text) {
  std::vector<TimerEntry> timers;
  while (const auto line = take_line(text)) {
    std::string_view rest = *line;
    if (take_prefix(rest, "ID: ")) {
      timers.emplace_back().id = TRY(number_of<i32>(rest, kFile, *line));
    } else if (timers.empty()) {
      return unreadable(kFile, *line);
    } else if (take_prefix(rest, "signal: ")) {
      TRY(set_signal(timers.back(), rest, *line));
    } else if (take_prefix(rest, "notify: ")) {
      TRY(set_notify(timers.back(), rest, *line));
    } else if (take_prefix(rest, "ClockID: ")) {
      timers.back().clock = TRY(number_of<i32>(rest, kFile, *line));
    }
  }
  // The kernel lists the newest first (and, before 6.15, in hash order).
  std::sort(timers.begin(), timers.end(),
            [](const TimerEntry& a, const TimerEntry& b) { return a.id < b.id; });
  return timers;
}

Result<std::vector<TimerEntry>> read_timers(Pid pid) {
  return parse_timers(TRY(sys::read_file(fmt::format("/proc/{}/timers", pid))));
}

}  // namespace stasis::proc
