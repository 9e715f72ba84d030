// Paths as text. Relocation follows BLCR: whole leading components of the saved path, the first
// rule that matches wins.
#include "resource/path.h"

#include <fmt/format.h>

#include "resource/handler.h"

namespace stasis::resource {

LinkName split_link(const std::string& link) {
  constexpr std::string_view kMark = " (deleted)";
  if (!link.ends_with(kMark)) return {link, false};
  return {link.substr(0, link.size() - kMark.size()), true};
}

std::string directory_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return {};
  return slash == 0 ? "/" : path.substr(0, slash);
}

std::string base_name(const std::string& path) {
  return path.substr(path.rfind('/') + 1);
}

std::string fd_path(int fd) {
  return fmt::format("/proc/self/fd/{}", fd);
}

std::string RestoreContext::relocate(const std::string& path) const {
  for (const Relocation& rule : options.relocations) {
    std::string_view from = rule.from;
    while (from.ends_with('/')) from.remove_suffix(1);
    if (!path.starts_with(from)) continue;
    const std::string_view rest = path == "/" ? "" : std::string_view(path).substr(from.size());
    if (!rest.empty() && rest.front() != '/') continue;
    std::string_view to = rule.to;
    while (to.ends_with('/')) to.remove_suffix(1);
    const std::string moved = fmt::format("{}{}", to, rest);
    return moved.empty() ? "/" : moved;
  }
  return path;
}

}  // namespace stasis::resource
