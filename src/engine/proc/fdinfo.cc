// /proc/PID/fdinfo/N: common lines first, then those of the descriptor's kind (proc_pid_fdinfo(5)).
// Numbers are decimal, octal or hexadecimal as the kernel's printer of each kind likes it.
#include "proc/fdinfo.h"

#include <fmt/format.h>

#include "base/sys.h"
#include "proc/text.h"

namespace stasis::proc {
namespace {

constexpr std::string_view kFile = "/proc/PID/fdinfo/N";

// "(1, 500)": seconds and nanoseconds.
Result<i64> nanoseconds(std::string_view value, std::string_view line) {
  if (!take_prefix(value, "(") || !value.ends_with(')')) return unreadable(kFile, line);
  value.remove_suffix(1);
  const size_t comma = value.find(',');
  if (comma == std::string_view::npos) return unreadable(kFile, line);
  const i64 seconds = TRY(number_of<i64>(trim(value.substr(0, comma)), kFile, line));
  const i64 rest = TRY(number_of<i64>(trim(value.substr(comma + 1)), kFile, line));
  constexpr i64 kMaxSeconds = 9'000'000'000;  // below 2^63 ns
  if (seconds < 0 || seconds > kMaxSeconds || rest < 0 || rest > 999'999'999) {
    return unreadable(kFile, line);
  }
  return seconds * 1'000'000'000 + rest;
}

// "tfd:        4 events:       1d data:     7f64  pos:0 ino:40e sdev:10". The value of a key is the
// next word when the key ends in a blank column.
Result<EpollEntry> epoll_entry(std::string_view line) {
  EpollEntry entry;
  std::string_view rest = line;
  while (true) {
    std::string_view word = take_word(rest);
    if (word.empty()) return entry;
    const size_t colon = word.find(':');
    if (colon == std::string_view::npos) return unreadable(kFile, line);
    const std::string_view key = word.substr(0, colon);
    std::string_view value = word.substr(colon + 1);
    if (value.empty()) value = take_word(rest);
    if (key == "tfd") entry.number = TRY(number_of<i32>(value, kFile, line));
    if (key == "events") entry.events = TRY(number_of<u32>(value, kFile, line, 16));
    if (key == "data") entry.data = TRY(number_of<u64>(value, kFile, line, 16));
    if (key == "ino") entry.inode = TRY(number_of<u64>(value, kFile, line, 16));
    if (key == "sdev") entry.device = TRY(number_of<u64>(value, kFile, line, 16));
  }
}

// "inotify wd:1 ino:3c51a sdev:fe00000 mask:100 ignored_mask:0 fhandle-bytes:8 ..."
Result<InotifyEntry> inotify_entry(std::string_view line) {
  InotifyEntry entry;
  for (const std::string_view word : words(line)) {
    const size_t colon = std::min(word.find(':'), word.size());
    const std::string_view key = word.substr(0, colon);
    const std::string_view value = word.substr(std::min(colon + 1, word.size()));
    if (key == "wd") entry.wd = static_cast<i32>(TRY(number_of<u32>(value, kFile, line, 16)));
    if (key == "ino") entry.inode = TRY(number_of<u64>(value, kFile, line, 16));
    if (key == "sdev") entry.device = TRY(number_of<u64>(value, kFile, line, 16));
    if (key == "mask") entry.mask = TRY(number_of<u32>(value, kFile, line, 16));
  }
  return entry;
}

// "1: FLOCK  ADVISORY  WRITE 359 00:13:11691 0 EOF"
Result<LockEntry> lock_entry(std::string_view value, std::string_view line) {
  const auto fields = words(value);
  if (fields.size() != 8) return unreadable(kFile, line);
  LockEntry lock;
  lock.type = fields[1];
  lock.mandatory = fields[2] == "MANDATORY";
  lock.exclusive = fields[3] == "WRITE";
  lock.owner = TRY(number_of<Pid>(fields[4], kFile, line));
  lock.start = TRY(number_of<u64>(fields[6], kFile, line));
  lock.end = fields[7] == "EOF" ? ~u64{0} : TRY(number_of<u64>(fields[7], kFile, line));
  return lock;
}

Result<void> set_timerfd(TimerFdEntry& timer, std::string_view key, std::string_view value,
                         std::string_view line) {
  if (key == "clockid") timer.clock = TRY(number_of<i32>(value, kFile, line));
  if (key == "ticks") timer.ticks = TRY(number_of<u64>(value, kFile, line));
  if (key == "settime flags") timer.settime_flags = TRY(number_of<u32>(value, kFile, line, 8));
  if (key == "it_value") timer.value_ns = TRY(nanoseconds(value, line));
  if (key == "it_interval") timer.interval_ns = TRY(nanoseconds(value, line));
  return {};
}

Result<void> set_line(FdInfo& info, std::string_view key, std::string_view value,
                      std::string_view line) {
  if (key == "pos") info.position = static_cast<u64>(TRY(number_of<i64>(value, kFile, line)));
  if (key == "flags") info.flags = TRY(number_of<u32>(value, kFile, line, 8));
  if (key == "mnt_id") info.mount_id = TRY(number_of<i32>(value, kFile, line));
  if (key == "ino") info.inode = TRY(number_of<u64>(value, kFile, line));
  if (key == "lock") info.locks.push_back(TRY(lock_entry(value, line)));
  if (key == "tfd") info.epoll.push_back(TRY(epoll_entry(line)));
  if (key.starts_with("inotify wd")) info.inotify.push_back(TRY(inotify_entry(line)));
  if (key == "eventfd-count") {
    info.has_eventfd = true;
    info.eventfd_count = TRY(number_of<u64>(value, kFile, line, 16));
  }
  if (key == "eventfd-semaphore") {
    info.eventfd_semaphore = TRY(number_of<i32>(value, kFile, line));
  }
  if (key == "sigmask") {
    info.has_signalfd = true;
    info.signalfd_mask = TRY(number_of<u64>(value, kFile, line, 16));
  }
  if (key == "Pid") {
    info.has_pidfd = true;
    info.pidfd_pid = TRY(number_of<Pid>(value, kFile, line));
  }
  if (key == "clockid") info.has_timerfd = true;
  return info.has_timerfd ? set_timerfd(info.timerfd, key, value, line) : Result<void>();
}

}  // namespace

Result<FdInfo> parse_fdinfo(std::string_view text) {
  FdInfo info;
  while (const auto line = take_line(text)) {
    const size_t colon = line->find(':');
    if (colon == std::string_view::npos) continue;  // kinds we do not know
    TRY(set_line(info, line->substr(0, colon), trim(line->substr(colon + 1)), *line));
  }
  return info;
}

Result<FdInfo> read_fdinfo(Pid pid, int number) {
  return parse_fdinfo(TRY(sys::read_file(fmt::format("/proc/{}/fdinfo/{}", pid, number))));
}

Result<std::vector<int>> read_descriptors(Pid pid) {
  return sys::list_numbers(fmt::format("/proc/{}/fd", pid));
}

Result<std::string> read_fd_link(Pid pid, int number) {
  return sys::read_link(fmt::format("/proc/{}/fd/{}", pid, number));
}

}  // namespace stasis::proc
