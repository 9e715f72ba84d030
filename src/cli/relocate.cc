// Reading OLD=NEW.
#include "relocate.h"

#include <fmt/format.h>

#include "options.h"

namespace stasis::cli {
namespace {

void trim_slashes(std::string& path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
}

}  // namespace

Result<std::optional<resource::Relocation>> parse_relocation(std::string_view text) {
  std::string sides[2];
  int side = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool escapes =
        text[i] == '\\' && i + 1 < text.size() && (text[i + 1] == '=' || text[i + 1] == '\\');
    if (escapes) {
      sides[side] += text[++i];
    } else if (text[i] != '=') {
      sides[side] += text[i];
    } else if (++side > 1) {
      return fail(kUsageError, fmt::format("invalid relocation '{}': more than one '='", text),
                  "write \\= for a '=' that belongs to a path");
    }
  }
  if (side != 1) return fail(kUsageError, fmt::format("invalid relocation '{}': no '='", text));
  for (std::string& path : sides) {
    if (!path.starts_with('/')) {
      return fail(kUsageError,
                  fmt::format("invalid relocation '{}': both paths must be absolute", text));
    }
    trim_slashes(path);
  }
  if (sides[0] == sides[1]) return std::optional<resource::Relocation>();
  return std::optional(resource::Relocation{.from = sides[0], .to = sides[1]});
}

}  // namespace stasis::cli
