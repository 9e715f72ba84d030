// capture/timers: whether a timer has expired between two readings.
#include "capture/timers.h"

#include <doctest/doctest.h>
#include <sys/time.h>

using namespace stasis;

namespace {

model::Process with(i64 alarm_us, i64 posix_ns) {
  model::Process process;
  if (alarm_us >= 0) {
    process.interval_timers.push_back(
        {.which = ITIMER_REAL, .value_us = alarm_us, .interval_us = 0});
  }
  model::PosixTimer timer;
  timer.id = 3;
  timer.value_ns = posix_ns;
  process.posix_timers.push_back(timer);
  return process;
}

}  // namespace

TEST_CASE("a timer that expires between two readings is seen") {
  CHECK(capture::no_timer_expired(with(500, 900), with(400, 800)));
  CHECK(capture::no_timer_expired(with(500, 900), with(500, 900)));
  CHECK(capture::no_timer_expired(with(-1, 0), with(-1, 0)));  // never started
  CHECK(!capture::no_timer_expired(with(500, 900), with(0, 800)));
  CHECK(!capture::no_timer_expired(with(500, 900), with(-1, 800)));  // off and without interval
  CHECK(!capture::no_timer_expired(with(500, 900), with(400, 0)));
  CHECK(!capture::no_timer_expired(with(500, 900), with(400, 1000)));  // began anew
}
