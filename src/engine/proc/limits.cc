// /proc/PID/limits: a heading, then a line a limit in columns of fixed width (fs/proc/base.c).
#include <fmt/format.h>

#include "base/sys.h"
#include "proc/status.h"
#include "proc/text.h"

namespace stasis::proc {
namespace {

constexpr std::string_view kFile = "/proc/PID/limits";
constexpr size_t kSoftColumn = 26, kHardColumn = 47, kWidth = 20;

Result<u64> value_of(std::string_view line, size_t column) {
  if (line.size() <= column) return unreadable(kFile, line);
  const std::string_view word = trim(line.substr(column, kWidth));
  if (word == "unlimited") return ~u64{0};
  return number_of<u64>(word, kFile, line);
}

}  // namespace

Result<std::vector<Limit>> parse_limits(std::string_view text) {
  std::vector<Limit> limits;
  if (!take_line(text)) return unreadable(kFile, "");
  while (const auto line = take_line(text)) {
    limits.push_back(
        {.soft = TRY(value_of(*line, kSoftColumn)), .hard = TRY(value_of(*line, kHardColumn))});
  }
  return limits;
}

Result<std::vector<Limit>> read_limits(Pid pid) {
  return parse_limits(TRY(sys::read_file(fmt::format("/proc/{}/limits", pid))));
}

}  // namespace stasis::proc
