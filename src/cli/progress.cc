// Drawing and wiping. A terminal understands "\r" and "erase to the end of the line".
#include "progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "human.h"

namespace stasis::cli {

ProgressLine::ProgressLine(std::string title, bool allowed)
    : title_(std::move(title)),
      enabled_(allowed && ::isatty(STDERR_FILENO) == 1),
      next_(started_ + std::chrono::milliseconds(500)) {}

void ProgressLine::show(u64 done, u64 total) {
  const auto now = Clock::now();
  if (!enabled_ || now < next_) return;
  next_ = now + std::chrono::milliseconds(200);
  const double seconds = std::chrono::duration<double>(now - started_).count();
  fmt::print(stderr, "\r{}\033[K", progress_text(title_, done, total, seconds));
  (void)std::fflush(stderr);  // a terminal that is gone is no reason to stop
  drawn_ = true;
}

void ProgressLine::clear() {
  if (!drawn_) return;
  fmt::print(stderr, "\r\033[K");
  (void)std::fflush(stderr);
  drawn_ = false;
}

std::string progress_text(std::string_view title, u64 done, u64 total, double seconds) {
  std::string text(title);
  if (total > 0) {
    const double share = static_cast<double>(std::min(done, total)) / static_cast<double>(total);
    text += fmt::format(": {:.0f}% of {}", share * 100, human_bytes(total));
  } else {
    text += fmt::format(": {}", human_bytes(done));
  }
  if (seconds > 0) {
    const auto rate = static_cast<u64>(static_cast<double>(done) / seconds);
    text += fmt::format(", {}/s", human_bytes(rate));
  }
  return text;
}

}  // namespace stasis::cli
