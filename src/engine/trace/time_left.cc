// /proc/TID/sched: se.exec_start is the CPU's clock (in ms) when the thread was last put to sleep,
// and nr_voluntary_switches counts sleeps. A thread that slept again between our look and its stop
// is recognised by the count.
#include "trace/time_left.h"

#include <fmt/format.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "base/sys.h"
#include "proc/status.h"

namespace stasis::trace {
namespace {

constexpr i64 kNsPerSecond = 1'000'000'000;

struct SchedFacts {
  i64 exec_start_ns = 0;
  u64 sleeps = 0;
};

// The value in "name   :   value".
std::optional<double> value_of(const std::string& text, std::string_view name) {
  const size_t line = text.find(name);
  if (line == std::string::npos) return std::nullopt;
  const size_t colon = text.find(':', line);
  if (colon == std::string::npos) return std::nullopt;
  return std::strtod(text.c_str() + colon + 1, nullptr);
}

std::optional<SchedFacts> read_sched(Pid pid, Pid tid) {
  const auto text = sys::read_file(fmt::format("/proc/{}/task/{}/sched", pid, tid));
  if (!text) return std::nullopt;
  const auto start_ms = value_of(*text, "\nse.exec_start");
  const auto sleeps = value_of(*text, "\nnr_voluntary_switches");
  if (!start_ms || !sleeps) return std::nullopt;
  return SchedFacts{static_cast<i64>(*start_ms * 1e6), static_cast<u64>(*sleeps)};
}

std::optional<i64> read_timespec_ns(const RemoteMemory& memory, RemoteAddr at) {
  const auto time = memory.read_object<timespec>(at);
  if (!time || time->tv_sec < 0 || time->tv_sec > i64{1} << 32) return std::nullopt;
  return time->tv_sec * kNsPerSecond + time->tv_nsec;
}

}  // namespace

i64 monotonic_ns() {
  timespec now = {};
  (void)::clock_gettime(CLOCK_MONOTONIC, &now);  // cannot fail
  return now.tv_sec * kNsPerSecond + now.tv_nsec;
}

SleepClock::~SleepClock() {
  // If it fails we stay on one CPU: slower, not wrong.
  if (affinity_) (void)::sched_setaffinity(0, sizeof *affinity_, &*affinity_);
}

std::optional<i64> SleepClock::offset_of(int cpu) {
  if (const auto known = offsets_ns_.find(cpu); known != offsets_ns_.end()) return known->second;
  if (cpu < 0 || cpu >= CPU_SETSIZE) return std::nullopt;
  if (!affinity_) {
    cpu_set_t before;
    if (::sched_getaffinity(0, sizeof before, &before) != 0) return std::nullopt;
    affinity_ = before;
  }
  cpu_set_t only;
  CPU_ZERO(&only);
  CPU_SET(cpu, &only);
  if (::sched_setaffinity(0, sizeof only, &only) != 0) return std::nullopt;
  // Our own exec_start is as old as our last scheduling: an offset too large, hence more time left.
  (void)::sched_yield();
  const auto own = read_sched(::getpid(), ::gettid());
  if (!own) return std::nullopt;
  return offsets_ns_[cpu] = monotonic_ns() - own->exec_start_ns;
}

std::optional<SleepSample> SleepClock::sample(Pid pid, Pid tid) {
  const auto facts = read_sched(pid, tid);
  const auto stat = proc::read_stat(pid, tid);
  if (!facts || !stat) return std::nullopt;
  const auto offset = offset_of(stat->processor);
  if (!offset) return std::nullopt;
  return SleepSample{facts->exec_start_ns + *offset, facts->sleeps};
}

bool wants_sample(i64 number, const std::array<u64, 6>& args) {
  if (arch::is_restart_call(number)) return true;  // what it hides is known only later
  const auto timeout = arch::relative_timeout(number, args);
  return timeout && !timeout->remainder;
}

i64 time_left(Pid pid, Pid tid, const RemoteMemory& memory, const arch::Registers& registers,
              i64 number, const std::optional<SleepSample>& sample, i64 stopped_ns) {
  if (arch::result(registers) != arch::kRestartBlock) return -1;
  const auto timeout = arch::relative_timeout(number, arch::arguments(registers));
  if (!timeout) return -1;
  if (timeout->remainder) {
    return read_timespec_ns(memory, timeout->remainder).value_or(-1);
  }
  const auto total = timeout->timespec ? read_timespec_ns(memory, timeout->timespec)
                                       : std::optional(timeout->milliseconds * 1'000'000);
  if (!total) return -1;
  // One sleep more is the stop itself; after another one the sample says nothing.
  const auto now = read_sched(pid, tid);
  if (!sample || !now || now->sleeps > sample->sleeps + 1) return *total;
  return std::clamp<i64>(*total - (stopped_ns - sample->since_ns), 0, *total);
}

}  // namespace stasis::trace
