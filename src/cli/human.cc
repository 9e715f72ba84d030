// Units are binary for bytes, decimal for times.
#include "human.h"

#include <fmt/format.h>

#include <array>

namespace stasis::cli {

std::string human_bytes(u64 bytes) {
  constexpr std::array<std::string_view, 5> kUnits = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1000 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  if (unit == 0) return fmt::format("{} B", bytes);
  return fmt::format("{:.{}f} {}", value, value < 100 ? 1 : 0, kUnits[unit]);
}

std::string human_time(i64 time_us) {
  if (time_us < 1000) return fmt::format("{} us", time_us);
  const double value = static_cast<double>(time_us);
  if (time_us < 1'000'000) return fmt::format("{:.1f} ms", value / 1e3);
  return fmt::format("{:.1f} s", value / 1e6);
}

std::string count(u64 number, std::string_view noun, std::string_view plural) {
  if (number == 1) return fmt::format("1 {}", noun);
  if (!plural.empty()) return fmt::format("{} {}", number, plural);
  return fmt::format("{} {}s", number, noun);
}

}  // namespace stasis::cli
