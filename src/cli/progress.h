// The progress line of long work: on stderr, only when that is a terminal, only after half a
// second, a few times a second; gone when the work is done.
#pragma once

#include <chrono>
#include <string>

#include "base/types.h"

namespace stasis::cli {

class ProgressLine {
 public:
  // `title`: "saving process 4711". Not shown when `allowed` is false.
  ProgressLine(std::string title, bool allowed);
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;
  ~ProgressLine() { clear(); }

  void show(u64 done, u64 total);
  // The same, of ids that the kernel's pid counter passes.
  void show_walk(u64 done, u64 total);
  void clear();  // wipes the line; a later show() draws it again

 private:
  using Clock = std::chrono::steady_clock;
  static bool can_draw();
  bool is_due();
  void draw(const std::string& text);
  std::string title_;
  bool enabled_;
  bool drawn_ = false;
  Clock::time_point started_ = Clock::now();
  Clock::time_point next_;
};

// "restarting job.ctx: walking the pid counter: 45% of 4194304 ids".
std::string walk_text(std::string_view title, u64 done, u64 total);

// What the line says: "saving process 4711: 45% of 2.7 GiB, 810 MiB/s".
std::string progress_text(std::string_view title, u64 done, u64 total, double seconds);

}  // namespace stasis::cli
