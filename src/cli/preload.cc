// Rewriting the list.
#include "preload.h"

namespace stasis::cli {
namespace {

bool is_ours(std::string_view entry) {
  const std::string_view name = entry.substr(entry.rfind('/') + 1);  // npos + 1 is 0
  return name.starts_with("libcr_run.so") || name.starts_with("libcr_omit.so");
}

}  // namespace

std::string preload_list(std::string_view before, std::string_view library) {
  std::string list(library);
  while (!before.empty()) {
    const size_t end = std::min(before.find_first_of(" :"), before.size());
    const std::string_view entry = before.substr(0, end);
    before.remove_prefix(std::min(end + 1, before.size()));
    if (entry.empty() || is_ours(entry)) continue;
    if (!list.empty()) list += ':';
    list += entry;
  }
  return list;
}

}  // namespace stasis::cli
