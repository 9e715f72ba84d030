// Small helpers for the kernel's text formats, private to this room: lines, words, numbers that
// must be numbers. Nothing here knows a particular file.
#pragma once

#include <optional>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/result.h"
#include "base/types.h"

namespace stasis::proc {

// The next line of `text` without its newline, taken off `text`; nullopt at the end.
std::optional<std::string_view> take_line(std::string_view& text);
// The next word (blanks and tabs separate), taken off `text`; empty at the end.
std::string_view take_word(std::string_view& text);
std::string_view trim(std::string_view text);
std::vector<std::string_view> words(std::string_view text);
// Whether `text` begins with `prefix`, which is then taken off.
bool take_prefix(std::string_view& text, std::string_view prefix);

// The whole of `text` as a number: "12", "-1", in base 16 also "0x12".
std::optional<u64> unsigned_number(std::string_view text, int base = 10);
std::optional<i64> signed_number(std::string_view text);

// "cannot understand FILE: LINE"
Error unreadable(std::string_view file, std::string_view line);

// A number that fits `Int`, or the error that quotes the line.
template <class Int>
Result<Int> number_of(std::string_view text, std::string_view file, std::string_view line,
                      int base = 10) {
  if constexpr (std::is_signed_v<Int>) {
    const auto value = signed_number(text);
    if (value && static_cast<i64>(static_cast<Int>(*value)) == *value) {
      return static_cast<Int>(*value);
    }
  } else {
    const auto value = unsigned_number(text, base);
    if (value && static_cast<u64>(static_cast<Int>(*value)) == *value) {
      return static_cast<Int>(*value);
    }
  }
  return unreadable(file, line);
}

}  // namespace stasis::proc
