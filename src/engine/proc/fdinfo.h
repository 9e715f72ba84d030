// /proc/PID/fd and fdinfo: what descriptors a process has and what the kernel tells about each.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/types.h"

namespace stasis::proc {

struct EpollEntry {
  i32 number = 0;  // tfd
  u32 events = 0;
  u64 data = 0;
  u64 inode = 0;
  u64 device = 0;  // sdev, the kernel's encoding
};
struct InotifyEntry {
  i32 wd = 0;
  u64 inode = 0;
  u64 device = 0;  // sdev
  u32 mask = 0;
};
struct LockEntry {
  std::string type;  // FLOCK, POSIX, OFDLCK, LEASE
  bool mandatory = false;
  bool exclusive = false;
  Pid owner = 0;
  u64 start = 0, end = 0;  // inclusive; ~0: to the end of the file
};
struct TimerFdEntry {
  i32 clock = 0;
  u64 ticks = 0;
  u32 settime_flags = 0;
  i64 value_ns = 0, interval_ns = 0;
};

// /proc/PID/fdinfo/N. Fields of a kind are meaningful only if its `has_` flag (or list) says so.
struct FdInfo {
  u64 position = 0;
  u32 flags = 0;  // O_*, with O_CLOEXEC as the descriptor has it
  i32 mount_id = 0;
  u64 inode = 0;
  bool has_eventfd = false;
  u64 eventfd_count = 0;
  i32 eventfd_semaphore = -1;  // -1: the kernel does not tell (before 6.5 or so)
  bool has_timerfd = false;
  TimerFdEntry timerfd;
  bool has_signalfd = false;
  u64 signalfd_mask = 0;
  bool has_pidfd = false;
  Pid pidfd_pid = 0;  // as seen from our pid namespace; -1 when it has exited
  std::vector<EpollEntry> epoll;
  std::vector<InotifyEntry> inotify;
  std::vector<LockEntry> locks;
};
Result<FdInfo> parse_fdinfo(std::string_view text);
Result<FdInfo> read_fdinfo(Pid pid, int number);
Result<std::vector<int>> read_descriptors(Pid pid);  // ascending numbers
// readlink /proc/PID/fd/N as it is ("pipe:[7]", "/tmp/x (deleted)", "anon_inode:[eventfd]").
Result<std::string> read_fd_link(Pid pid, int number);

}  // namespace stasis::proc
