// What is left of a request's time.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <chrono>

#include "base/result.h"
#include "base/types.h"

namespace stasis::engine {

class Deadline {
 public:
  explicit Deadline(i64 limit_ms) : limit_ms_(limit_ms) {}
  // -1 without a limit, 0 when it has passed.
  [[nodiscard]] i64 left_ms() const {
    if (limit_ms_ < 0) return -1;
    return std::max<i64>(0, limit_ms_ - passed_us() / 1000);
  }
  [[nodiscard]] bool passed() const { return left_ms() == 0; }
  [[nodiscard]] i64 passed_us() const {
    return std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - start_).count();
  }
  [[nodiscard]] Error error() const {
    return fail(
        ETIMEDOUT,
        fmt::format("the time limit of {} s has passed", static_cast<double>(limit_ms_) / 1000),
        "the program goes on as before; give it more time (--time)");
  }

 private:
  using Clock = std::chrono::steady_clock;
  i64 limit_ms_;
  Clock::time_point start_ = Clock::now();
};

}  // namespace stasis::engine
