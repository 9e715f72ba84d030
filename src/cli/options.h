// One table of options per command. Parsing, the usage text and the lint of the man pages are made
// from its rows, so that a new option is one row. GNU-like: short options may be joined, long ones
// take "=value" or the next word and may be abbreviated as long as that stays clear, "--" ends
// them. Prints nothing itself.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/types.h"

namespace stasis::cli {

// Exit code of BLCR's commands when they were used wrongly; also the code of such an Error.
inline constexpr int kUsageError = 255;

struct Option {
  std::string_view shorts;    // letters that mean it, "h?"; may be empty
  std::string_view longs;     // names that mean it, "pid|process"; may be empty
  std::string_view argument;  // what it takes: "" nothing, "FILE" a word, "[NAME]" only after "="
  std::string_view help;      // for people; empty: not shown in the usage text
  std::function<Result<void>(std::string_view value)> action;
  bool ends_parsing = false;  // --help, --version: nothing after it matters

  [[nodiscard]] bool takes_argument() const { return !argument.empty() && argument[0] != '['; }
  [[nodiscard]] bool may_take_argument() const { return !argument.empty() && argument[0] == '['; }
};

enum class Operands { kAnywhere, kEndOptions };  // kEndOptions: all behind the first is operands

// Runs the actions of all options in order and returns the operands. A misuse is an Error with the
// code kUsageError and a sentence as getopt(3) would print it; an action's error comes back as is.
Result<std::vector<std::string>> parse_options(std::span<const Option> table,
                                               std::span<const char* const> arguments,
                                               Operands operands = Operands::kAnywhere);

// "usage: SYNOPSIS", then a line per row: names, argument, help.
std::string usage_text(std::string_view synopsis, std::span<const Option> table);

// The names of a row as a person would type them: "-f", "--file".
std::vector<std::string> spellings(const Option& option);

// A decimal number in [lowest, highest], or a usage error that names the option.
Result<long> parse_number(std::string_view text, long lowest, long highest,
                          std::string_view option);
// Seconds, with a fraction if wanted, as milliseconds; or a usage error.
Result<i64> parse_seconds(std::string_view text);
// A signal's number or name ("10", "USR1", "SIGUSR1"), or a usage error.
Result<int> parse_signal(std::string_view text, std::string_view option);

}  // namespace stasis::cli
