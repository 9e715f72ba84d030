// The rows; of the views the last one counts.
#include "info_options.h"

namespace stasis::cli {

std::vector<Option> info_options(InfoSettings& s) {
  const auto set = [](bool& flag) {
    return [&flag](std::string_view) -> Result<void> {
      flag = true;
      return {};
    };
  };
  const auto view = [&s](InfoView wanted) {
    return [&s, wanted](std::string_view) -> Result<void> {
      s.view = wanted;
      return {};
    };
  };
  return {
      {"", "text", "", "describe the contents in words (default)", view(InfoView::kText)},
      {"", "json", "", "print the whole description as JSON", view(InfoView::kJson)},
      {"", "backtrace", "", "print the stack of every thread", view(InfoView::kBacktrace)},
      {"", "verify", "", "read everything and check every checksum", set(s.verify)},
      {"h?", "help", "", "print this text", set(s.help), true},
      {"", "version", "", "print the version", set(s.version), true},
  };
}

Result<void> parse_info(InfoSettings& settings, std::span<const char* const> arguments) {
  const auto operands = TRY(parse_options(info_options(settings), arguments));
  if (settings.help || settings.version) return {};
  if (operands.empty()) return fail(kUsageError, "the context file is missing");
  if (operands.size() > 1) return fail(kUsageError, "more than one context file given");
  settings.file = operands[0];
  return {};
}

}  // namespace stasis::cli
