// How a command line is read and how the usage text is laid out.
#include "options.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <cstring>

namespace stasis::cli {
namespace {

Error usage_error(std::string text) {
  return fail(kUsageError, std::move(text));
}

std::vector<std::string_view> split_names(std::string_view longs) {
  std::vector<std::string_view> names;
  while (!longs.empty()) {
    const size_t bar = std::min(longs.find('|'), longs.size());
    names.push_back(longs.substr(0, bar));
    longs.remove_prefix(std::min(bar + 1, longs.size()));
  }
  return names;
}

// The row that `name` means: its own name, or the beginning of names of one row alone.
Result<const Option*> find_long(std::span<const Option> table, std::string_view name) {
  const Option* found = nullptr;
  bool ambiguous = false;
  for (const Option& option : table) {
    for (const std::string_view candidate : split_names(option.longs)) {
      if (candidate == name) return &option;
      if (name.empty() || !candidate.starts_with(name) || found == &option) continue;
      ambiguous = ambiguous || found != nullptr;
      found = &option;
    }
  }
  if (ambiguous) return usage_error(fmt::format("option '--{}' is ambiguous", name));
  if (found == nullptr) return usage_error(fmt::format("unrecognized option '--{}'", name));
  return found;
}

const Option* find_short(std::span<const Option> table, char letter) {
  for (const Option& option : table) {
    if (option.shorts.find(letter) != std::string_view::npos) return &option;
  }
  return nullptr;
}

// Where parsing stands: the words still to be read.
class Cursor {
 public:
  explicit Cursor(std::span<const char* const> words) : words_(words) {}
  [[nodiscard]] bool at_end() const { return next_ >= words_.size(); }
  std::string_view take() { return words_[next_++]; }

 private:
  std::span<const char* const> words_;
  size_t next_ = 0;
};

// "--name", "--name=value", "--name value". True: parsing ends here.
Result<bool> parse_long(std::span<const Option> table, std::string_view word, Cursor& cursor) {
  const size_t equals = word.find('=');
  const std::string_view name = word.substr(0, equals);
  const Option* option = TRY(find_long(table, name.substr(2)));
  std::string_view value;
  if (equals != std::string_view::npos) {
    if (option->argument.empty()) {
      return usage_error(fmt::format("option '{}' doesn't allow an argument", name));
    }
    value = word.substr(equals + 1);
  } else if (option->takes_argument()) {
    if (cursor.at_end()) return usage_error(fmt::format("option '{}' requires an argument", name));
    value = cursor.take();
  }
  TRY(option->action(value));
  return option->ends_parsing;
}

// "-abc", "-fFILE", "-f FILE". True: parsing ends here.
Result<bool> parse_shorts(std::span<const Option> table, std::string_view word, Cursor& cursor) {
  for (size_t i = 1; i < word.size(); ++i) {
    const Option* option = find_short(table, word[i]);
    if (option == nullptr) return usage_error(fmt::format("invalid option -- '{}'", word[i]));
    if (!option->takes_argument()) {
      TRY(option->action({}));
      if (option->ends_parsing) return true;
      continue;
    }
    std::string_view value = word.substr(i + 1);
    if (value.empty()) {
      if (cursor.at_end()) {
        return usage_error(fmt::format("option requires an argument -- '{}'", word[i]));
      }
      value = cursor.take();
    }
    TRY(option->action(value));
    return option->ends_parsing;
  }
  return false;
}

// "  -f, --file=FILE": the left column of the usage text.
std::string left_column(const Option& option) {
  std::string text = "  ";
  const auto names = spellings(option);
  for (size_t i = 0; i < names.size(); ++i) {
    text += (i > 0 ? ", " : "") + names[i];
  }
  if (option.takes_argument()) text += fmt::format(" {}", option.argument);
  if (option.may_take_argument()) {
    text += fmt::format("[={}]", option.argument.substr(1, option.argument.size() - 2));
  }
  return text;
}

}  // namespace

Result<std::vector<std::string>> parse_options(std::span<const Option> table,
                                               std::span<const char* const> arguments,
                                               Operands operands) {
  std::vector<std::string> found;
  Cursor cursor(arguments);
  bool options_ended = false;
  while (!cursor.at_end()) {
    const std::string_view word = cursor.take();
    if (options_ended || word.size() < 2 || word[0] != '-') {
      found.emplace_back(word);
      if (operands == Operands::kEndOptions) options_ended = true;
    } else if (word == "--") {
      options_ended = true;
    } else if (word.starts_with("--") ? TRY(parse_long(table, word, cursor))
                                      : TRY(parse_shorts(table, word, cursor))) {
      break;
    }
  }
  return found;
}

std::string usage_text(std::string_view synopsis, std::span<const Option> table) {
  constexpr size_t kColumn = 28;
  std::string text = fmt::format("usage: {}\n", synopsis);
  for (const Option& option : table) {
    if (option.help.empty()) continue;
    const std::string left = left_column(option);
    text += left;
    text += left.size() + 2 > kColumn ? "\n" + std::string(kColumn, ' ')
                                      : std::string(kColumn - left.size(), ' ');
    text += fmt::format("{}\n", option.help);
  }
  return text;
}

std::vector<std::string> spellings(const Option& option) {
  std::vector<std::string> names;
  for (const char letter : option.shorts) names.push_back(fmt::format("-{}", letter));
  for (const std::string_view name : split_names(option.longs)) {
    names.push_back(fmt::format("--{}", name));
  }
  return names;
}

Result<long> parse_number(std::string_view text, long lowest, long highest,
                          std::string_view option) {
  long number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number < lowest ||
      number > highest) {
    return usage_error(fmt::format("invalid {} '{}': expected a number from {} to {}", option, text,
                                   lowest, highest));
  }
  return number;
}

Result<i64> parse_seconds(std::string_view text) {
  const std::string copy(text);
  char* end = nullptr;
  const double seconds = std::strtod(copy.c_str(), &end);
  if (copy.empty() || *end != '\0' || !std::isfinite(seconds) || seconds < 0 || seconds > 1e9) {
    return fail(kUsageError, fmt::format("invalid time '{}': expected seconds", text));
  }
  return static_cast<i64>(std::ceil(seconds * 1000));
}

Result<int> parse_signal(std::string_view text, std::string_view option) {
  const std::string_view name = text.starts_with("SIG") ? text.substr(3) : text;
  for (int number = 1; number < NSIG; ++number) {
    const char* abbreviation = ::sigabbrev_np(number);
    if (abbreviation != nullptr && name == abbreviation) return number;
  }
  return static_cast<int>(TRY(parse_number(text, 1, NSIG - 1, option)));
}

}  // namespace stasis::cli
