// The logger, for developers' detail (-vv): never for messages that a user must see, which are
// Errors and reports and are printed by cli/ alone. Writes to stderr; silent below its level.
#pragma once

#include <spdlog/spdlog.h>

namespace stasis::log {

using spdlog::debug;
using spdlog::info;
using spdlog::trace;
using spdlog::warn;

}  // namespace stasis::log
