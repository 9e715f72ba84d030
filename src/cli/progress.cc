// Drawing and wiping. A terminal understands "\r" and "erase to the end of the line".
#include "progress.h"

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "human.h"

namespace stasis::cli {

ProgressLine::ProgressLine(std::string title, bool allowed)
    : title_(std::move(title)),
      enabled_(allowed && ::isatty(STDERR_FILENO) == 1),
      next_(started_ + std::chrono::milliseconds(500)) {}

// Whoever draws may hold processes still: a terminal that takes no output (Ctrl-S) is not waited
// for.
bool ProgressLine::can_draw() {
  pollfd wait = {.fd = STDERR_FILENO, .events = POLLOUT, .revents = 0};
  return ::poll(&wait, 1, 0) == 1 && (wait.revents & POLLOUT) != 0;
}

bool ProgressLine::is_due() {
  const auto now = Clock::now();
  if (!enabled_ || now < next_ || !can_draw()) return false;
  next_ = now + std::chrono::milliseconds(200);
  return true;
}

void ProgressLine::draw(const std::string& text) {
  fmt::print(stderr, "\r{}\033[K", text);
  (void)std::fflush(stderr);  // a terminal that is gone is no reason to stop
  drawn_ = true;
}

void ProgressLine::show(u64 done, u64 total) {
  if (!is_due()) return;
  const double seconds = std::chrono::duration<double>(Clock::now() - started_).count();
  draw(progress_text(title_, done, total, seconds));
}

void ProgressLine::show_walk(u64 done, u64 total) {
  if (is_due()) draw(walk_text(title_, done, total));
}

void ProgressLine::clear() {
  if (!drawn_ || !can_draw()) return;
  fmt::print(stderr, "\r\033[K");
  (void)std::fflush(stderr);
  drawn_ = false;
}

std::string walk_text(std::string_view title, u64 done, u64 total) {
  const double share =
      total == 0 ? 0 : static_cast<double>(std::min(done, total)) / static_cast<double>(total);
  return fmt::format("{}: walking the pid counter: {:.0f}% of {} ids", title, share * 100, total);
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
