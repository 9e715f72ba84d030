// cr_info's options.
#pragma once

#include <string>
#include <vector>

#include "options.h"

namespace stasis::cli {

enum class InfoView { kText, kJson, kBacktrace };

struct InfoSettings {
  bool help = false, version = false;
  InfoView view = InfoView::kText;
  bool verify = false;
  std::string file;
};

// Rows that write into `settings`, which must live as long as they are used.
std::vector<Option> info_options(InfoSettings& settings);

// Reads the command line (without the command's name). Errors: kUsageError.
Result<void> parse_info(InfoSettings& settings, std::span<const char* const> arguments);

}  // namespace stasis::cli
