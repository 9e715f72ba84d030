// The argument of --relocate: OLD=NEW, as BLCR reads it.
#pragma once

#include <string_view>

#include <optional>

#include "base/result.h"
#include "resource/handler.h"

namespace stasis::cli {

// "\=" and "\\" stand for themselves; exactly one unescaped "="; both sides absolute; trailing
// slashes do not count. nullopt: both sides are the same, nothing to do. Else a usage error.
Result<std::optional<resource::Relocation>> parse_relocation(std::string_view text);

}  // namespace stasis::cli
