// "/proc/PID" and "/proc/PID/task/TID" are the places where a path has an id.
#include "restart/proc_paths.h"

#include <charconv>
#include <string_view>

namespace stasis::restart {
namespace {

constexpr std::string_view kProc = "/proc/", kTask = "/task/";

// The number that `text` begins with, if it is a whole component of a path; 0 otherwise.
Pid leading_id(std::string_view text) {
  Pid id = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), id);
  const bool whole = end == text.data() + text.size() || *end == '/';
  return problem == std::errc() && whole && id > 0 ? id : 0;
}

// `path` with the id at `at` replaced, if there is one that has another number now.
std::string replaced(const std::string& path, size_t at, const std::map<Pid, Pid>& ids) {
  const Pid id = leading_id(std::string_view(path).substr(at));
  const auto now = ids.find(id);
  if (id == 0 || now == ids.end()) return path;
  const size_t length = std::to_string(id).size();
  return path.substr(0, at) + std::to_string(now->second) + path.substr(at + length);
}

}  // namespace

Pid process_of_path(const std::string& path) {
  return path.starts_with(kProc) ? leading_id(std::string_view(path).substr(kProc.size())) : 0;
}

std::string with_new_ids(const std::string& path, const std::map<Pid, Pid>& ids) {
  if (process_of_path(path) == 0) return path;
  const std::string moved = replaced(path, kProc.size(), ids);
  const size_t slash = moved.find('/', kProc.size());
  if (slash == std::string::npos || moved.compare(slash, kTask.size(), kTask) != 0) return moved;
  return replaced(moved, slash + kTask.size(), ids);
}

}  // namespace stasis::restart
