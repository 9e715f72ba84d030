// Forwarding. A signal that the terminal made (SI_KERNEL) went to its whole foreground group, so a
// root in our group has it already; all others were meant for us alone and go on.
#include "job.h"

#include <fmt/format.h>
#include <pthread.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>

#include "base/sys.h"
#include "cancel.h"
#include "proc/status.h"

namespace stasis::cli {
namespace {

constexpr std::array kNotYet = {SIGILL, SIGTRAP, SIGBUS,  SIGFPE,  SIGSEGV,
                                SIGSYS, SIGQUIT, SIGTSTP, SIGTTIN, SIGTTOU};
constexpr int kCheckpointSignal = 64;  // BLCR's CR_SIGNUM

sigset_t everything() {
  sigset_t set;
  ::sigfillset(&set);  // without glibc's own two signals; KILL and STOP cannot be blocked
  return set;
}

bool stops_a_job(int signal) {
  return signal == SIGTSTP || signal == SIGTTIN || signal == SIGTTOU;
}

// The child of ours that is not `known`, if it is one alone.
Result<Pid> only_child(Pid known, const Error& otherwise) {
  const auto children = proc::read_children(::getpid());
  if (!children || children->size() != 1 || children->front() == known) return otherwise;
  return children->front();
}

}  // namespace

JobSignals::JobSignals() {
  struct sigaction action = {};
  (void)::sigaction(SIGHUP, nullptr, &action);  // cannot fail: the number is valid
  hangup_ignored_ = action.sa_handler == SIG_IGN;
  // SIGCHLD must not be ignored, or the kernel reaps the job and its status is lost.
  (void)std::signal(SIGCHLD, SIG_DFL);
  sigset_t set = everything();
  for (const int signal : kNotYet) ::sigdelset(&set, signal);
  (void)::pthread_sigmask(SIG_BLOCK, &set, nullptr);  // fails only for a bad `how`
}

int JobSignals::cancel_requested() const {
  sigset_t pending;
  ::sigemptyset(&pending);
  (void)::sigpending(&pending);  // fails only for a bad address
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    if (signal == SIGHUP && hangup_ignored_) continue;
    if (::sigismember(&pending, signal) == 1) return signal;
  }
  return 0;
}

Result<int> JobSignals::wait_for(Pid root) {
  const sigset_t set = everything();
  (void)::pthread_sigmask(SIG_BLOCK, &set, nullptr);
  siginfo_t info = {};
  for (;;) {
    int status = 0;
    const auto reaped = sys::check(::waitpid(root, &status, WNOHANG | __WALL), "wait for",
                                   fmt::format("process {}", root));
    if (!reaped) {
      // It was our child: we are a copy, restarted with new ids.
      root = TRY(only_child(root, reaped.error()));
      continue;
    }
    if (*reaped == root) return status;
    if (info.si_signo > 0) forward(info, root);  // only now is it known to be our child still
    info = {};
    (void)::sigwaitinfo(&set, &info);  // interrupted it leaves info as it is
  }
}

void JobSignals::forward(const siginfo_t& info, Pid root) {
  const int signal = info.si_signo;
  if (signal == SIGCHLD || signal == kCheckpointSignal) return;
  if (signal == SIGHUP && hangup_ignored_) return;
  // Made by our own writing (SIGPIPE): not the job's business.
  if (info.si_code == SI_USER && info.si_pid == ::getpid()) return;
  const bool root_has_it = info.si_code == SI_KERNEL && ::getpgid(root) == ::getpgrp();
  if (!root_has_it) (void)::kill(root, signal);  // a root that just ended is noticed by waitpid
  // The shell that started us must see us stop, or it goes on waiting.
  if (stops_a_job(signal)) (void)::raise(SIGSTOP);
}

int run_hook(const std::string& command) {
  posix_spawnattr_t attributes;
  sigset_t none;
  ::sigemptyset(&none);
  ::posix_spawnattr_init(&attributes);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  std::string shell = "sh", option = "-c", text = command;
  char* const words[] = {shell.data(), option.data(), text.data(), nullptr};
  Pid child = 0;
  const int failed = ::posix_spawn(&child, "/bin/sh", nullptr, &attributes, words, environ);
  ::posix_spawnattr_destroy(&attributes);
  int status = 0;
  if (failed != 0 || ::waitpid(child, &status, 0) != child) return 127;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void end_like(int wait_status) {
  if (WIFEXITED(wait_status)) ::_exit(WEXITSTATUS(wait_status));
  const int signal = WTERMSIG(wait_status);
  die_of(signal);
  ::_exit(128 + signal);  // only if the signal could not end us
}

}  // namespace stasis::cli
