// The clock of the handshake's waiting. Internal to notify/.
#pragma once

#include <time.h>

#include "base/types.h"

namespace stasis::notify {

inline constexpr i64 kNsPerMs = 1'000'000;

inline i64 now_ns() {
  timespec now = {};
  (void)::clock_gettime(CLOCK_MONOTONIC, &now);  // cannot fail
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

inline void sleep_us(i64 microseconds) {
  const timespec pause = {.tv_sec = 0, .tv_nsec = microseconds * 1000};
  (void)::nanosleep(&pause, nullptr);  // waking early is harmless
}

}  // namespace stasis::notify
