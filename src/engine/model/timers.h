// Timers of a process, with the time they had left.
#pragma once

#include <tuple>

#include "base/types.h"
#include "model/field.h"

namespace stasis::model {

// setitimer(2).
struct IntervalTimer {
  i32 which = 0;
  i64 value_us = 0;
  i64 interval_us = 0;

  bool operator==(const IntervalTimer&) const = default;
  static constexpr auto fields() {
    return std::tuple{field("which", &IntervalTimer::which),
                      field("value_us", &IntervalTimer::value_us),
                      field("interval_us", &IntervalTimer::interval_us)};
  }
};

// timer_create(2).
struct PosixTimer {
  i32 id = 0;
  i32 clock = 0;
  i32 notify = 0;  // SIGEV_*
  i32 signal = 0;
  RemoteAddr value;  // sigev_value
  Pid tid = 0;       // SIGEV_THREAD_ID
  i64 value_ns = 0;  // time left; 0 when disarmed
  i64 interval_ns = 0;
  i32 overrun = 0;

  bool operator==(const PosixTimer&) const = default;
  static constexpr auto fields() {
    return std::tuple{field("id", &PosixTimer::id),
                      field("clock", &PosixTimer::clock),
                      field("notify", &PosixTimer::notify),
                      field("signal", &PosixTimer::signal),
                      field("value", &PosixTimer::value),
                      field("tid", &PosixTimer::tid),
                      field("value_ns", &PosixTimer::value_ns),
                      field("interval_ns", &PosixTimer::interval_ns),
                      field("overrun", &PosixTimer::overrun)};
  }
};

}  // namespace stasis::model
