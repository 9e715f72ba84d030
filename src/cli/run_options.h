// cr_run's options.
#pragma once

#include <vector>

#include "options.h"

namespace stasis::cli {

struct RunSettings {
  bool help = false, version = false;
  bool omit = false;
  bool user_namespace = false;
};

// Rows that write into `settings`, which must live as long as they are used.
std::vector<Option> run_options(RunSettings& settings);

}  // namespace stasis::cli
