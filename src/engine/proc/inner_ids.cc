// Three lines of /proc/PID/status: outermost first.
#include "proc/inner_ids.h"

#include <fmt/format.h>

#include <charconv>

#include "base/sys.h"

namespace stasis::proc {
namespace {

std::string_view line_of(std::string_view status, std::string_view name) {
  const size_t start = status.find(fmt::format("\n{}:", name));
  if (start == std::string_view::npos) return {};
  status.remove_prefix(start + name.size() + 2);
  return status.substr(0, status.find('\n'));
}

// The last number of a line, and how many there are.
size_t read_last(std::string_view line, Pid& last) {
  size_t count = 0;
  while (true) {
    const size_t digit = line.find_first_of("0123456789");
    if (digit == std::string_view::npos) return count;
    line.remove_prefix(digit);
    const auto [end, problem] = std::from_chars(line.data(), line.data() + line.size(), last);
    if (problem != std::errc{}) return count;
    line.remove_prefix(static_cast<size_t>(end - line.data()));
    ++count;
  }
}

}  // namespace

InnerIds parse_inner_ids(std::string_view status) {
  InnerIds ids;
  ids.depth = read_last(line_of(status, "NSpid"), ids.pid);
  read_last(line_of(status, "NSpgid"), ids.group);
  read_last(line_of(status, "NSsid"), ids.session);
  return ids;
}

Result<InnerIds> read_inner_ids(Pid pid) {
  return parse_inner_ids(TRY(sys::read_file(fmt::format("/proc/{}/status", pid))));
}

}  // namespace stasis::proc
