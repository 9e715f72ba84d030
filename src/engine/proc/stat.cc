// /proc/PID/stat: one line of positional fields behind the name (proc_pid_stat(5)).
#include <fmt/format.h>

#include "base/sys.h"
#include "proc/status.h"
#include "proc/text.h"

namespace stasis::proc {
namespace {

constexpr std::string_view kFile = "/proc/PID/stat";

// The fields behind the name, by the numbers of proc_pid_stat(5): state is 3.
class Fields {
 public:
  Fields(std::string_view line, std::string_view rest) : line_(line), fields_(words(rest)) {}

  template <class Int>
  Result<void> set(Int& out, size_t number) const {
    if (number - 3 >= fields_.size()) return unreadable(kFile, line_);
    out = TRY(number_of<Int>(fields_[number - 3], kFile, line_));
    return {};
  }
  Result<void> set(RemoteAddr& out, size_t number) const { return set(out.value, number); }
  Result<void> set(char& out, size_t number) const {
    if (number - 3 >= fields_.size()) return unreadable(kFile, line_);
    out = fields_[number - 3].front();
    return {};
  }

 private:
  std::string_view line_;
  std::vector<std::string_view> fields_;
};

}  // namespace

Result<Stat> parse_stat(std::string_view text) {
  // The name may hold anything, also ") R 1 2" and newlines: it ends at the last parenthesis.
  const size_t open = text.find('(');
  const size_t close = text.rfind(')');
  if (open == std::string_view::npos || close == std::string_view::npos || close < open) {
    return unreadable(kFile, text);
  }
  Stat stat;
  stat.pid = TRY(number_of<Pid>(trim(text.substr(0, open)), kFile, text));
  stat.name = text.substr(open + 1, close - open - 1);
  std::string_view rest = text.substr(close + 1);
  if (rest.ends_with('\n')) rest.remove_suffix(1);
  const Fields fields(text, rest);
  TRY(fields.set(stat.state, 3));
  TRY(fields.set(stat.parent, 4));
  TRY(fields.set(stat.group, 5));
  TRY(fields.set(stat.session, 6));
  TRY(fields.set(stat.terminal, 7));
  TRY(fields.set(stat.flags, 9));
  TRY(fields.set(stat.nice, 19));
  TRY(fields.set(stat.start_time_ticks, 22));
  TRY(fields.set(stat.start_code, 26));
  TRY(fields.set(stat.end_code, 27));
  TRY(fields.set(stat.start_stack, 28));
  TRY(fields.set(stat.processor, 39));
  TRY(fields.set(stat.start_data, 45));
  TRY(fields.set(stat.end_data, 46));
  TRY(fields.set(stat.start_brk, 47));
  TRY(fields.set(stat.arg_start, 48));
  TRY(fields.set(stat.arg_end, 49));
  TRY(fields.set(stat.env_start, 50));
  TRY(fields.set(stat.env_end, 51));
  return stat;
}

Result<Stat> read_stat(Pid pid) {
  return parse_stat(TRY(sys::read_file(fmt::format("/proc/{}/stat", pid))));
}

Result<Stat> read_stat(Pid pid, Pid tid) {
  return parse_stat(TRY(sys::read_file(fmt::format("/proc/{}/task/{}/stat", pid, tid))));
}

}  // namespace stasis::proc
