// Between the two sides: one byte that says that all processes are held by pidfds, one that says
// that they live. What runs in the guard neither allocates nor returns.
#include "restart/exit_guard.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "base/sys.h"

namespace stasis::restart {
namespace {

bool get_byte(int fd) {
  char byte = 0;
  ssize_t got = 0;
  do {
    got = ::read(fd, &byte, 1);
  } while (got < 0 && sys::last_code() == EINTR);
  return got == 1;
}

void put_byte(int fd) {
  (void)::send(fd, "", 1, MSG_NOSIGNAL);  // the other side's end is seen when it is read from
}

// `pids` has room for the pidfds.
[[noreturn]] void guard(int channel, std::vector<Pid>& pids) {
  sigset_t all;
  ::sigfillset(&all);
  (void)::sigprocmask(SIG_SETMASK, &all, nullptr);  // fails only for a bad `how`
  (void)::setsid();                                 // a new process leads no group
  (void)::prctl(PR_SET_NAME, "stasis-guard", 0, 0, 0);
  // Room for pidfds, and nothing that others would wait to see closed.
  (void)::syscall(SYS_close_range, 0U, static_cast<unsigned>(channel) - 1, 0U);
  (void)::syscall(SYS_close_range, static_cast<unsigned>(channel) + 1, ~0U, 0U);
  for (Pid& pid : pids) pid = static_cast<Pid>(::syscall(SYS_pidfd_open, pid, 0U));
  put_byte(channel);
  if (get_byte(channel)) ::_exit(0);
  for (const Pid pidfd : pids) {
    if (pidfd >= 0) (void)::syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, nullptr, 0U);
  }
  ::_exit(1);
}

}  // namespace

ExitGuard::ExitGuard(const std::vector<Pid>& pids) {
  int ends[2] = {-1, -1};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return;
  UniqueFd ours(ends[0]);
  UniqueFd theirs(ends[1]);
  std::vector<Pid> held = pids;
  const Pid pid = ::fork();
  if (pid < 0) return;
  if (pid == 0) guard(theirs.get(), held);
  pid_ = pid;
  theirs.reset();
  channel_ = std::move(ours);
  if (!get_byte(channel_.get())) channel_.reset();  // somebody has killed it
}

void ExitGuard::let_live() {
  if (channel_) put_byte(channel_.get());
}

ExitGuard::~ExitGuard() {
  channel_.reset();
  if (pid_ == 0) return;
  while (::waitpid(pid_, nullptr, 0) < 0 && sys::last_code() == EINTR) continue;
}

}  // namespace stasis::restart
