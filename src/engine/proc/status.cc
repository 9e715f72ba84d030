// /proc/PID/status: one "Key:<tab>value" a line (proc_pid_status(5)).
#include "proc/status.h"

#include <fmt/format.h>

#include <functional>
#include <map>

#include "base/sys.h"
#include "proc/text.h"

namespace stasis::proc {
namespace {

constexpr std::string_view kFile = "/proc/PID/status";

template <class Int>
Result<std::vector<Int>> list_of(std::string_view value, std::string_view line) {
  std::vector<Int> numbers;
  for (const std::string_view word : words(value)) {
    numbers.push_back(TRY(number_of<Int>(word, kFile, line)));
  }
  return numbers;
}

// One line's value goes to its place in the struct. `line` is for the error.
using Setter = Result<void> (*)(Status& status, std::string_view value, std::string_view line);

template <auto Member>
Result<void> set_number(Status& status, std::string_view value, std::string_view line) {
  using Int = std::remove_reference_t<decltype(status.*Member)>;
  status.*Member = TRY(number_of<Int>(value, kFile, line));
  return {};
}

template <auto Member>
Result<void> set_mask(Status& status, std::string_view value, std::string_view line) {
  status.*Member = TRY(number_of<u64>(value, kFile, line, 16));
  return {};
}

template <auto Member>
Result<void> set_list(Status& status, std::string_view value, std::string_view line) {
  using List = std::remove_reference_t<decltype(status.*Member)>;
  status.*Member = TRY(list_of<typename List::value_type>(value, line));
  return {};
}

template <auto Member>
Result<void> set_flag(Status& status, std::string_view value, std::string_view line) {
  status.*Member = TRY(number_of<u32>(value, kFile, line)) != 0;
  return {};
}

// The kernel escapes newline and backslash in names (as octal \012 and \134 or as \n and \\).
std::string unescape_name(std::string_view value) {
  std::string name;
  while (!value.empty()) {
    if (take_prefix(value, "\\n") || take_prefix(value, "\\012")) {
      name += '\n';
    } else if (take_prefix(value, "\\\\") || take_prefix(value, "\\134")) {
      name += '\\';
    } else {
      name += value.front();
      value.remove_prefix(1);
    }
  }
  return name;
}

Result<void> set_state(Status& status, std::string_view value, std::string_view line) {
  if (value.empty()) return unreadable(kFile, line);
  status.state = value.front();
  return {};
}

Result<void> set_umask(Status& status, std::string_view value, std::string_view line) {
  status.umask = TRY(number_of<u32>(value, kFile, line, 8));
  return {};
}

Result<void> set_features(Status& status, std::string_view value, std::string_view) {
  status.thread_features = value;
  return {};
}

Result<void> set_locked(Status& status, std::string_view value, std::string_view line) {
  status.locked_kb = TRY(number_of<u64>(take_word(value), kFile, line));
  return {};
}

const std::map<std::string_view, Setter>& setters() {
  static const std::map<std::string_view, Setter> table = {
      {"State", set_state},
      {"Umask", set_umask},
      {"Tgid", set_number<&Status::tgid>},
      {"Pid", set_number<&Status::pid>},
      {"PPid", set_number<&Status::parent>},
      {"TracerPid", set_number<&Status::tracer>},
      {"Uid", set_list<&Status::uids>},
      {"Gid", set_list<&Status::gids>},
      {"Groups", set_list<&Status::groups>},
      {"NSpid", set_list<&Status::namespace_pids>},
      {"Threads", set_number<&Status::threads>},
      {"SigPnd", set_mask<&Status::pending>},
      {"ShdPnd", set_mask<&Status::shared_pending>},
      {"SigBlk", set_mask<&Status::blocked>},
      {"SigIgn", set_mask<&Status::ignored>},
      {"SigCgt", set_mask<&Status::caught>},
      {"CapInh", set_mask<&Status::cap_inheritable>},
      {"CapPrm", set_mask<&Status::cap_permitted>},
      {"CapEff", set_mask<&Status::cap_effective>},
      {"CapBnd", set_mask<&Status::cap_bounding>},
      {"CapAmb", set_mask<&Status::cap_ambient>},
      {"NoNewPrivs", set_flag<&Status::no_new_privs>},
      {"Seccomp", set_number<&Status::seccomp>},
      {"x86_Thread_features", set_features},
      {"untag_mask", set_mask<&Status::untag_mask>},
      {"VmLck", set_locked},
      {"THP_enabled", set_flag<&Status::thp_enabled>},
  };
  return table;
}

}  // namespace

Result<Status> parse_status(std::string_view text) {
  Status status;
  while (const auto line = take_line(text)) {
    const size_t colon = line->find(':');
    if (colon == std::string_view::npos) return unreadable(kFile, *line);
    const std::string_view key = line->substr(0, colon);
    std::string_view value = line->substr(colon + 1);
    if (key == "Name") {  // may begin or end with blanks of its own: one tab is the separator
      take_prefix(value, "\t");
      status.name = unescape_name(value);
      continue;
    }
    const auto setter = setters().find(key);
    if (setter != setters().end()) TRY(setter->second(status, trim(value), *line));
  }
  if (status.pid == 0) return unreadable(kFile, "(no Pid: line)");
  return status;
}

bool says_gone(const Error& error) {
  return error.code == ENOENT || error.code == ESRCH;
}

Result<Status> read_status(Pid pid) {
  return parse_status(TRY(sys::read_file(fmt::format("/proc/{}/status", pid))));
}

Result<Status> read_status(Pid pid, Pid tid) {
  return parse_status(TRY(sys::read_file(fmt::format("/proc/{}/task/{}/status", pid, tid))));
}

}  // namespace stasis::proc
