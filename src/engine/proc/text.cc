// Lines, words and numbers of /proc files. See text.h.
#include "proc/text.h"

#include <fmt/format.h>

#include <cerrno>
#include <charconv>

namespace stasis::proc {
namespace {

constexpr std::string_view kBlanks = " \t";

template <class Int>
std::optional<Int> whole_number(std::string_view text, int base) {
  Int value = 0;
  const char* last = text.data() + text.size();
  const auto [end, problem] = std::from_chars(text.data(), last, value, base);
  if (text.empty() || problem != std::errc{} || end != last) return std::nullopt;
  return value;
}

}  // namespace

std::optional<std::string_view> take_line(std::string_view& text) {
  if (text.empty()) return std::nullopt;
  const size_t newline = text.find('\n');
  const std::string_view line = text.substr(0, newline);
  text.remove_prefix(newline == std::string_view::npos ? text.size() : newline + 1);
  return line;
}

std::string_view take_word(std::string_view& text) {
  text.remove_prefix(std::min(text.find_first_not_of(kBlanks), text.size()));
  const size_t length = std::min(text.find_first_of(kBlanks), text.size());
  const std::string_view word = text.substr(0, length);
  text.remove_prefix(length);
  return word;
}

std::string_view trim(std::string_view text) {
  const size_t first = text.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

std::vector<std::string_view> words(std::string_view text) {
  std::vector<std::string_view> result;
  while (true) {
    const std::string_view word = take_word(text);
    if (word.empty()) return result;
    result.push_back(word);
  }
}

bool take_prefix(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

std::optional<u64> unsigned_number(std::string_view text, int base) {
  if (base == 16) take_prefix(text, "0x");
  return whole_number<u64>(text, base);
}

std::optional<i64> signed_number(std::string_view text) {
  return whole_number<i64>(text, 10);
}

Error unreadable(std::string_view file, std::string_view line) {
  return fail(EPROTO, fmt::format("cannot understand {}: \"{}\"", file, line));
}

}  // namespace stasis::proc
