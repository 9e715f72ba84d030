// Offsets in a namespace are counted from the machine's own clocks (time_namespaces(7)), so that
// one inside of another needs no sums.
#include "restart/clocks.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>

#include "base/saturated.h"
#include "base/sys.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif

namespace stasis::restart {
namespace {

constexpr i64 kSecondNs = 1'000'000'000;

i64 now_ns(clockid_t clock) {
  timespec now = {};
  (void)::clock_gettime(clock, &now);  // both are always there
  return static_cast<i64>(now.tv_sec) * kSecondNs + now.tv_nsec;
}

// One clock of the image, and the same one here.
struct Pair {
  bool same_boot = false;
  i64 saved_ns = 0, saved_offset_ns = 0;
  i64 here_ns = 0, offset_ns = 0;

  [[nodiscard]] bool known() const { return saved_ns != 0; }
  // Without any namespace.
  [[nodiscard]] i64 machine_ns() const { return saturated_difference(here_ns, offset_ns); }
  // What is to be added to it so that it goes on from the image's, or from where that is by now.
  [[nodiscard]] i64 continuing_ns() const {
    return same_boot ? saved_offset_ns : saturated_difference(saved_ns, machine_ns());
  }
  [[nodiscard]] i64 wanted_ns() const {
    return known() ? std::max(offset_ns, continuing_ns()) : offset_ns;
  }
  [[nodiscard]] resource::ClockShift with(i64 offset) const {
    return {.image_ns = known() ? saturated_difference(offset, continuing_ns()) : 0,
            .ours_ns = saturated_difference(offset, offset_ns)};
  }
};

struct Both {
  Pair monotonic, boottime;
};

Both pairs(const model::Origin& origin, const ClocksHere& here) {
  Both both;
  both.monotonic = {.saved_ns = origin.monotonic_ns,
                    .saved_offset_ns = origin.monotonic_offset_ns,
                    .here_ns = here.monotonic_ns,
                    .offset_ns = here.offsets.monotonic_ns};
  both.boottime = {.saved_ns = origin.boottime_ns,
                   .saved_offset_ns = origin.boottime_offset_ns,
                   .here_ns = here.boottime_ns,
                   .offset_ns = here.offsets.boottime_ns};
  const Pair& m = both.monotonic;
  // A boot id may be copied with a container; a machine's clock never goes back.
  const bool same = origin.boot_id == here.boot_id &&
                    saturated_difference(m.saved_ns, m.saved_offset_ns) <= m.machine_ns();
  both.monotonic.same_boot = both.boottime.same_boot = same;
  return both;
}

}  // namespace

ClocksHere clocks_here() {
  const auto boot = sys::read_file("/proc/sys/kernel/random/boot_id");
  return {.boot_id = boot ? boot->substr(0, boot->find('\n')) : std::string(),
          .offsets = proc::read_time_offsets(::getpid()),
          .monotonic_ns = now_ns(CLOCK_MONOTONIC),
          .boottime_ns = now_ns(CLOCK_BOOTTIME)};
}

std::optional<proc::TimeOffsets> wanted_offsets(const model::Origin& origin,
                                                const ClocksHere& here) {
  const Both both = pairs(origin, here);
  const proc::TimeOffsets wanted{both.monotonic.wanted_ns(), both.boottime.wanted_ns()};
  return wanted == here.offsets ? std::nullopt : std::optional(wanted);
}

resource::Clocks clocks_with(const model::Origin& origin, const ClocksHere& here,
                             const proc::TimeOffsets& offsets) {
  const Both both = pairs(origin, here);
  return {.monotonic = both.monotonic.with(offsets.monotonic_ns),
          .boottime = both.boottime.with(offsets.boottime_ns)};
}

std::string behind_note(const model::Origin& origin, const ClocksHere& here,
                        const std::string& why_not) {
  const Both both = pairs(origin, here);
  const auto behind_ns = [](const Pair& pair) {
    return saturated_difference(pair.wanted_ns(), pair.offset_ns);
  };
  const i64 behind = std::max(behind_ns(both.monotonic), behind_ns(both.boottime));
  return fmt::format(
      "the monotonic clocks are {} seconds behind those of the image, and a time namespace cannot "
      "be made ({}): what waits for a time that it has computed itself (sleeps of python, timers "
      "of "
      "Go, node and Java) may wait that much longer",
      saturated_sum(behind, kSecondNs - 1) / kSecondNs, why_not);
}

std::string offsets_text(const proc::TimeOffsets& offsets) {
  const auto line = [](std::string_view clock, i64 ns) {
    i64 seconds = ns / kSecondNs;
    i64 rest = ns % kSecondNs;
    if (rest < 0) {
      rest += kSecondNs;
      --seconds;
    }
    return fmt::format("{} {} {}\n", clock, seconds, rest);
  };
  return line("monotonic", offsets.monotonic_ns) + line("boottime", offsets.boottime_ns);
}

Result<TimeForChildren> TimeForChildren::begin(const proc::TimeOffsets& offsets) {
  TimeForChildren time(TRY(sys::open("/proc/self/ns/time", O_RDONLY)));
  TRY(sys::check(::unshare(CLONE_NEWTIME), "make", "a time namespace"));
  TRY(sys::write_file("/proc/self/timens_offsets", offsets_text(offsets)));
  return time;
}

TimeForChildren::~TimeForChildren() {
  // If it fails our later children (hooks) see the clocks of the job.
  if (own_.get() >= 0) (void)::setns(own_.get(), CLONE_NEWTIME);
}

}  // namespace stasis::restart
