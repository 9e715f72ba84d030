// The small files of a process: syscall, timers, personality, oom_score_adj, task, children, auxv;
// and how a process is named in messages.
#include <fmt/format.h>
#include <signal.h>

#include <algorithm>
#include <cerrno>

#include "base/saturated.h"
#include "base/sys.h"
#include "proc/maps.h"
#include "proc/status.h"
#include "proc/text.h"

namespace stasis::proc {
namespace {

// Whether an error only says that the thread or process ended while we looked.
bool is_gone(const Error& error) {
  return error.code == ENOENT || error.code == ESRCH;
}

// For kernels without /proc/PID/task/TID/children (CONFIG_PROC_CHILDREN): ask everybody.
Result<std::vector<Pid>> children_by_search(Pid pid) {
  std::vector<Pid> children;
  for (const Pid candidate : TRY(sys::list_numbers("/proc"))) {
    const auto stat = read_stat(candidate);
    if (stat && stat->parent == pid) children.push_back(candidate);
  }
  return children;
}

}  // namespace

Result<SyscallState> parse_syscall(std::string_view text) {
  constexpr std::string_view kFile = "/proc/PID/task/TID/syscall";
  const std::string_view line = take_line(text).value_or("");
  SyscallState state;
  if (line == "running") {
    state.running = true;
    return state;
  }
  const auto fields = words(line);
  // "NUMBER six arguments SP PC" inside a call, "-1 SP PC" when stopped elsewhere.
  if (fields.size() != 9 && fields.size() != 3) return unreadable(kFile, line);
  state.number = TRY(number_of<i64>(fields[0], kFile, line));
  for (size_t i = 0; fields.size() == 9 && i < 6; ++i) {
    state.args[i] = TRY(number_of<u64>(fields[i + 1], kFile, line, 16));
  }
  state.sp.value = TRY(number_of<u64>(fields[fields.size() - 2], kFile, line, 16));
  state.pc.value = TRY(number_of<u64>(fields[fields.size() - 1], kFile, line, 16));
  state.running = fields.size() == 3;
  return state;
}

Result<SyscallState> read_syscall(Pid pid, Pid tid) {
  return parse_syscall(TRY(sys::read_file(fmt::format("/proc/{}/task/{}/syscall", pid, tid))));
}

Result<std::vector<Pid>> read_threads(Pid pid) {
  return sys::list_numbers(fmt::format("/proc/{}/task", pid));
}

Result<std::vector<Pid>> read_children(Pid pid) {
  std::vector<Pid> children;
  bool readable = false;
  for (const Pid tid : TRY(read_threads(pid))) {
    const auto text = sys::read_file(fmt::format("/proc/{}/task/{}/children", pid, tid));
    if (!text && is_gone(text.error())) continue;
    if (!text) return text.error();
    readable = true;
    for (const std::string_view word : words(*text)) {
      children.push_back(TRY(number_of<Pid>(word, "/proc/PID/task/TID/children", *text)));
    }
  }
  if (!readable && exists(pid)) return children_by_search(pid);
  std::sort(children.begin(), children.end());
  return children;
}

Result<u64> read_personality(Pid pid) {
  const std::string text = TRY(sys::read_file(fmt::format("/proc/{}/personality", pid)));
  std::string_view rest = text;
  return number_of<u64>(take_line(rest).value_or(""), "/proc/PID/personality", text, 16);
}

Result<i32> read_oom_score_adj(Pid pid) {
  const std::string text = TRY(sys::read_file(fmt::format("/proc/{}/oom_score_adj", pid)));
  std::string_view rest = text;
  return number_of<i32>(take_line(rest).value_or(""), "/proc/PID/oom_score_adj", text);
}

std::string read_label(Pid pid) {
  const auto text = sys::read_file(fmt::format("/proc/{}/attr/current", pid));
  if (!text) return {};  // EINVAL without such a module
  return text->substr(0, text->find_first_of(std::string_view("\n\0", 2)));
}

std::optional<u32> read_login(Pid pid) {
  const auto text = sys::read_file(fmt::format("/proc/{}/loginuid", pid));
  const auto number = text ? unsigned_number(trim(*text)) : std::nullopt;
  if (!number) return std::nullopt;
  return static_cast<u32>(*number);
}

std::optional<u32> read_coredump_filter(Pid pid) {
  const auto text = sys::read_file(fmt::format("/proc/{}/coredump_filter", pid));
  std::string_view rest = text ? std::string_view(*text) : std::string_view();
  const auto number = unsigned_number(take_line(rest).value_or(""), 16);
  if (!number) return std::nullopt;
  return static_cast<u32>(*number);
}

Result<TimeOffsets> parse_time_offsets(std::string_view text) {
  constexpr std::string_view kFile = "/proc/PID/timens_offsets";
  constexpr i64 kMostSeconds = 9'000'000'000;  // below 2^63 ns, as is all that the kernel accepts
  TimeOffsets offsets;
  while (const auto line = take_line(text)) {  // "monotonic  SECONDS  NANOSECONDS"
    const auto fields = words(*line);
    if (fields.size() != 3) return unreadable(kFile, *line);
    const i64 seconds = TRY(number_of<i64>(fields[1], kFile, *line));
    const i64 rest = TRY(number_of<i64>(fields[2], kFile, *line));
    if (seconds < -kMostSeconds || seconds > kMostSeconds || rest < 0 || rest >= kNsPerSecond) {
      return unreadable(kFile, *line);
    }
    const i64 ns = seconds * kNsPerSecond + rest;
    if (fields[0] == "monotonic") offsets.monotonic_ns = ns;
    if (fields[0] == "boottime") offsets.boottime_ns = ns;
  }
  return offsets;
}

TimeOffsets read_time_offsets(Pid pid) {
  const auto text = sys::read_file(fmt::format("/proc/{}/timens_offsets", pid));
  if (!text) return {};  // the kernel has no time namespaces
  const auto offsets = parse_time_offsets(*text);
  return offsets ? *offsets : TimeOffsets();
}

Result<Bytes> read_auxv(Pid pid) {
  return sys::read_bytes(fmt::format("/proc/{}/auxv", pid));
}

Pid live_thread(Pid pid) {
  const auto lives = [pid](Pid tid) {
    const auto stat = read_stat(pid, tid);
    return stat.ok() && stat->state != 'Z' && stat->state != 'X';
  };
  if (lives(pid)) return pid;
  const auto tids = read_threads(pid);
  if (!tids) return pid;
  const auto found = std::find_if(tids->begin(), tids->end(), lives);
  return found == tids->end() ? pid : *found;
}

bool exists(Pid pid) {
  const auto sent = sys::check(::kill(pid, 0), "signal", "a process");
  return sent.ok() || sent.error().code == EPERM;
}

std::string describe(Pid pid) {
  const auto stat = read_stat(pid);
  return stat ? fmt::format("{} ({})", pid, stat->name) : fmt::format("{}", pid);
}

}  // namespace stasis::proc
