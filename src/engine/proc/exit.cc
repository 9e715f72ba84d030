// Fields 38 and 52 of /proc/PID/stat (proc_pid_stat(5)).
#include "proc/exit.h"

#include <fmt/format.h>

#include "base/sys.h"
#include "proc/text.h"

namespace stasis::proc {
namespace {

constexpr std::string_view kFile = "/proc/PID/stat";

}  // namespace

Result<ExitFacts> parse_exit(std::string_view stat) {
  const size_t close = stat.rfind(')');  // the name may hold anything
  if (close == std::string_view::npos) return unreadable(kFile, stat);
  std::string_view rest = stat.substr(close + 1);
  if (rest.ends_with('\n')) rest.remove_suffix(1);
  const auto fields = words(rest);  // the first is field 3
  if (fields.size() < 50) return unreadable(kFile, stat);
  ExitFacts facts;
  facts.exit_signal = TRY(number_of<i32>(fields[35], kFile, stat));
  facts.wait_status = TRY(number_of<i32>(fields[49], kFile, stat));
  return facts;
}

Result<ExitFacts> read_exit(Pid pid) {
  return parse_exit(TRY(sys::read_file(fmt::format("/proc/{}/stat", pid))));
}

}  // namespace stasis::proc
