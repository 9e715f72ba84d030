// flock(2) on /proc/PID/mem: one lock a process, seen by everybody who may trace it and by nobody
// else (on the folder /proc/PID any user could hold it), and gone with us. It survives an execve of
// the process, and keeps nothing of it alive.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>

#include <algorithm>
#include <cerrno>

#include "base/sys.h"
#include "notify/notify.h"
#include "proc/status.h"

namespace stasis::notify {

namespace {

// Has ended, or is about to: to all but root memory that is gone already is forbidden (EACCES).
bool is_ending(Pid pid) {
  constexpr u32 kExiting = 0x4;  // PF_EXITING
  const auto stat = proc::read_stat(proc::live_thread(pid));
  return !stat || (stat->flags & kExiting) != 0;
}

}  // namespace

Result<Claim> Claim::take(std::span<const Pid> pids) {
  Claim claim;
  TRY(claim.add(pids));
  return claim;
}

Result<void> Claim::add(std::span<const Pid> pids) {
  const size_t before = locks_.size();
  for (const Pid pid : pids) {
    auto added = add(pid);
    if (added.ok()) continue;
    release_from(before);
    return added;
  }
  return {};
}

void Claim::release_from(size_t size) {
  locks_.resize(size);
  pids_.resize(size);
}

Result<void> Claim::add(Pid pid) {
  if (std::find(pids_.begin(), pids_.end(), pid) != pids_.end()) return {};
  auto file = sys::open(fmt::format("/proc/{}/mem", pid), O_RDONLY);
  // A leader that has exited before its threads has no memory to show.
  if (!file) file = sys::open(fmt::format("/proc/{}/mem", proc::live_thread(pid)), O_RDONLY);
  if (!file) {
    // Nobody to lock any more.
    const int code = file.error().code;
    if (is_ending(pid) || code == ESRCH || code == ENOENT) return {};
    return std::move(file).take_error();
  }
  const auto locked = sys::check(::flock(file->get(), LOCK_EX | LOCK_NB), "lock",
                                 fmt::format("process {}", proc::describe(pid)));
  if (!locked && locked.error().code == EWOULDBLOCK) {
    return fail(
        EBUSY,
        fmt::format("process {} is in another checkpoint or restart already", proc::describe(pid)),
        "Wait for that one to end.");
  }
  TRY(std::move(locked));
  locks_.push_back(std::move(file).take_value());
  pids_.push_back(pid);
  return {};
}

}  // namespace stasis::notify
