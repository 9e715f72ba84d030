// A helper (a clone of ours, so nothing here may allocate) unshares, writes the identity maps,
// clones init and, by CLONE_PARENT, the newborn, which thereby is our child and not the helper's;
// reports; and exits. All that stays is init: no descriptor, no memory worth speaking of, its own
// session.
#include "restart/namespaces.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <string>

#include "base/sys.h"
#include "trace/ptrace.h"

namespace stasis::restart {
namespace {

enum class Step : int { kDone, kUnshare, kMaps, kInit, kMount, kClone };

std::string_view text_of(Step step) {
  switch (step) {
    case Step::kDone:
      return "finish";
    case Step::kUnshare:
      return "create namespaces";
    case Step::kMaps:
      return "map our user and group into a new user namespace";
    case Step::kInit:
      return "create the first process of a pid namespace";
    case Step::kMount:
      return "mount /proc in a pid namespace";
    case Step::kClone:
      return "create the process there with its id";
  }
  return "work";
}

// What the helper tells us, and init the helper.
struct Report {
  Step step = Step::kDone;
  int code = 0;
  Pid pid = 0;
};

struct HelperPlan {
  const NewbornPlan& newborn;
  const Gate& gate;
  Pid id = 0;
  std::string users, groups;    // the lines of uid_map and gid_map
  int report = -1;              // to us
  int init_ends[2] = {-1, -1};  // helper's and init's
};

// --- system calls only, from here to clone_helper() ---

bool write_text(const char* path, std::string_view text) {
  const int fd = ::open(path, O_WRONLY | O_CLOEXEC);
  if (fd == -1) return false;
  const bool done = ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  (void)::close(fd);
  return done;
}

template <class T>
bool send(int fd, const T& message) {
  return ::write(fd, &message, sizeof message) == static_cast<ssize_t>(sizeof message);
}

template <class T>
bool receive(int fd, T& message) {
  return ::read(fd, &message, sizeof message) == static_cast<ssize_t>(sizeof message);
}

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

[[noreturn]] void live_as_init(int helper) {
  (void)::prctl(PR_SET_NAME, "stasis-init", 0, 0, 0);
  (void)::setsid();
  (void)::chdir("/");
  // Later mounts outside still show inside; ours do not show outside.
  (void)::mount("none", "/", nullptr, MS_REC | MS_SLAVE, nullptr);
  Report report;
  if (::mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr) != 0) {
    report = {Step::kMount, sys::last_code(), 0};
  }
  (void)::dup2(helper, 0);
  (void)::syscall(SYS_close_range, 1U, ~0U, 0U);
  if (!send(0, report) || report.code != 0) ::_exit(1);
  char born = 0;
  if (!receive(0, born)) ::_exit(1);  // the helper gave up
  (void)::close(0);
  reap();
  ::_exit(0);
}

bool enter_namespaces(const HelperPlan& plan, Report& report) {
  report.step = Step::kUnshare;
  if (::unshare(CLONE_NEWPID | CLONE_NEWNS) == 0) return true;  // root need not change users
  if (::unshare(CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS) != 0) return false;
  report.step = Step::kMaps;
  return write_text("/proc/self/setgroups", "deny") &&
         write_text("/proc/self/uid_map", plan.users) &&
         write_text("/proc/self/gid_map", plan.groups);
}

bool make_init(const HelperPlan& plan, Report& report) {
  report.step = Step::kInit;
  const long init = ::syscall(SYS_clone, long{SIGCHLD}, 0L, 0L, 0L, 0L);
  if (init == -1) return false;
  if (init == 0) {
    (void)::close(plan.init_ends[0]);
    live_as_init(plan.init_ends[1]);
  }
  (void)::close(plan.init_ends[1]);
  Report from_init;
  if (!receive(plan.init_ends[0], from_init)) from_init = {Step::kInit, ECHILD, 0};
  if (from_init.code == 0) return true;
  report.step = from_init.step;
  report.code = from_init.code;
  return false;
}

[[noreturn]] void live_as_helper(const HelperPlan& plan) {
  Report report;
  if (enter_namespaces(plan, report) && make_init(plan, report)) {
    report.step = Step::kClone;
    clone_args arguments = {};
    arguments.flags = CLONE_PARENT;
    // An address of ours for the kernel: the interface is a number.
    arguments.set_tid = reinterpret_cast<u64>(&plan.id);
    arguments.set_tid_size = 1;
    const long pid = ::syscall(SYS_clone3, &arguments, sizeof arguments);
    if (pid == 0) {
      (void)::close(plan.report);
      (void)::close(plan.init_ends[0]);
      live_as_newborn(plan.newborn, plan.gate);
    }
    if (pid > 0) {
      report.step = Step::kDone;
      report.pid = static_cast<Pid>(pid);
      const char born = 1;
      (void)send(plan.init_ends[0], born);
    }
  }
  if (report.step != Step::kDone && report.code == 0) report.code = sys::last_code();
  (void)send(plan.report, report);
  ::_exit(0);
}

// --- in us ---

struct Ends {
  UniqueFd first, second;
};
Result<Ends> make_pair() {
  int ends[2];
  TRY(sys::check(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), "make",
                 "a socket pair"));
  return Ends{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

}  // namespace

Result<Pid> clone_newborn_in_namespaces(const NewbornPlan& plan, const Gate& gate, Pid id) {
  Ends ours = TRY(make_pair());
  const Ends init = TRY(make_pair());
  const HelperPlan helper_plan{plan,
                               gate,
                               id,
                               fmt::format("{0} {0} 1", ::geteuid()),
                               fmt::format("{0} {0} 1", ::getegid()),
                               ours.second.get(),
                               {init.first.get(), init.second.get()}};
  const BlockedSignals blocked;
  const long helper =
      TRY(sys::raw("create", "a helper process", SYS_clone, long{SIGCHLD}, 0L, 0L, 0L, 0L));
  if (helper == 0) live_as_helper(helper_plan);
  ours.second.reset();
  Report report;
  const size_t got =
      TRY(sys::read_full(ours.first.get(), std::as_writable_bytes(std::span(&report, 1))));
  TRY(trace::wait_for(static_cast<Pid>(helper), true));
  if (got != sizeof report) return fail(ECHILD, "the helper that makes namespaces died");
  if (report.code != 0) {
    return fail(report.code,
                fmt::format("cannot {}: {}", text_of(report.step), ::strerror(report.code)));
  }
  return report.pid;
}

}  // namespace stasis::restart
