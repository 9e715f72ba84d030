// Init of a private pid namespace: a clone of ours that mounts /proc, reports, and then only reaps.
// System calls only: it may not allocate.
#include "restart/namespace_init.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>

#include "base/sys.h"

namespace stasis::restart {
namespace {

// A process of the namespace that is neither we nor dead, by /proc, as a pidfd; -1: none. Not all
// are our children: those that cr_restart waits for are not.
int watch_somebody() {
  struct Entry {  // struct linux_dirent64
    u64 inode;
    i64 offset;
    u16 length;
    u8 type;
    char name[1];
  };
  alignas(Entry) std::array<char, 4096> buffer;
  const int folder = ::open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  int watched = -1;
  long got = 0;
  while (watched < 0 &&
         (got = ::syscall(SYS_getdents64, folder, buffer.data(), buffer.size())) > 0) {
    for (long at = 0; at < got && watched < 0;) {
      const auto* entry = reinterpret_cast<const Entry*>(&buffer.at(static_cast<size_t>(at)));
      at += entry->length;
      const int pid = ::atoi(entry->name);
      if (pid <= 1) continue;
      pollfd ended = {static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)), POLLIN, 0};
      if (ended.fd < 0) continue;
      if (::poll(&ended, 1, 0) == 0) {
        watched = ended.fd;
      } else {
        (void)::close(ended.fd);  // a zombie that somebody else will reap
      }
    }
  }
  (void)::close(folder);
  return watched;
}

// Reaps until nobody lives any more; then the namespace ends with init.
void reap() {
  sigset_t child;
  (void)::sigemptyset(&child);
  (void)::sigaddset(&child, SIGCHLD);
  const int signals = ::signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
  std::array<pollfd, 2> ends = {pollfd{-1, POLLIN, 0}, pollfd{signals, POLLIN, 0}};
  while (true) {
    Pid reaped = 1;
    while (reaped > 0) reaped = ::waitpid(-1, nullptr, WNOHANG | __WALL);
    if (ends[0].fd < 0) ends[0].fd = watch_somebody();
    if (ends[0].fd < 0 && reaped == -1) return;  // ECHILD
    (void)::poll(ends.data(), ends.size(), -1);
    signalfd_siginfo info;
    while (::read(signals, &info, sizeof info) > 0) continue;
    if (ends[0].revents != 0) {
      (void)::close(ends[0].fd);
      ends[0] = {-1, POLLIN, 0};
    }
  }
}

}  // namespace

void live_as_init(int helper, int kept, Mounts mounts) {
  (void)::prctl(PR_SET_NAME, "stasis-init", 0, 0, 0);
  (void)::setsid();
  (void)::chdir("/");
  NamespaceReport report;
  if (mounts == Mounts::kToMake && ::unshare(CLONE_NEWNS) != 0) {
    report = {NamespaceStep::kUnshare, sys::last_code(), 0};
  }
  // Later mounts outside still show inside; ours do not show outside.
  if (report.code == 0) (void)::mount("none", "/", nullptr, MS_REC | MS_SLAVE, nullptr);
  if (report.code == 0 &&
      ::mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr) != 0) {
    report = {NamespaceStep::kMount, sys::last_code(), 0};
  }
  // At numbers that neither of the two has.
  const int door = ::fcntl(helper, F_DUPFD_CLOEXEC, 3);
  const int held = kept >= 0 ? ::fcntl(kept, F_DUPFD_CLOEXEC, 3) : -1;
  (void)::dup2(door, 0);
  if (held >= 0) (void)::dup2(held, 1);
  (void)::syscall(SYS_close_range, held >= 0 ? 2U : 1U, ~0U, 0U);
  if (!send_message(0, report) || report.code != 0) ::_exit(1);
  char born = 0;
  if (!receive_message(0, born)) ::_exit(1);  // the helper gave up
  (void)::close(0);
  reap();
  ::_exit(0);
}

}  // namespace stasis::restart
