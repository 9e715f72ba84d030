// Fork, wait, pass on. The parent's wait is one waitpid(2): begun anew in a restored copy it
// fails with ECHILD, which is the sign that the checkpoint was made and that this is the copy.
#include "worker.h"

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "base/sys.h"
#include "block.h"
#include "cancel.h"
#include "proc/status.h"

namespace stasis::cli {
namespace {

constexpr std::array kPassedOn = {SIGINT, SIGTERM, SIGHUP};

volatile sig_atomic_t worker = 0;  // a signal handler can be told in no other way

// In a restored copy the number may be somebody else's: only a child of ours is signalled.
void pass_on(int signal) {
  siginfo_t unused = {};
  if (::waitid(P_PID, static_cast<id_t>(worker), &unused, WEXITED | WNOHANG | WNOWAIT) != 0) return;
  (void)::kill(static_cast<Pid>(worker), signal);
}

sigset_t passed_on() {
  sigset_t set;
  ::sigemptyset(&set);
  for (const int signal : kPassedOn) ::sigaddset(&set, signal);
  return set;
}

void catch_signals() {
  for (const int signal : kPassedOn) {
    struct sigaction action = {};
    (void)::sigaction(signal, nullptr, &action);  // cannot fail: the number is valid
    if (action.sa_handler == SIG_IGN) continue;   // nohup
    action.sa_handler = pass_on;
    action.sa_flags = SA_RESTART;
    action.sa_mask = passed_on();
    (void)::sigaction(signal, &action, nullptr);
  }
}

void follow_parent(Pid parent) {
  (void)std::signal(kParentDied, SIG_DFL);
  (void)::prctl(PR_SET_PDEATHSIG, kParentDied, 0, 0, 0);
  if (::getppid() != parent) ::_exit(1);  // it died before; nothing has been touched
}

// Its stop would be the target's.
int wait_for_worker() {
  int status = 0;
  while (true) {
    const pid_t pid = ::waitpid(static_cast<Pid>(worker), &status, WUNTRACED);
    if (pid < 0 && sys::last_code() != EINTR) return 0;  // no child: we are the restored copy
    if (pid != worker) continue;
    if (!WIFSTOPPED(status)) break;
    (void)::kill(static_cast<Pid>(worker), SIGCONT);
  }
  if (WIFSIGNALED(status)) {
    die_of(WTERMSIG(status));
    return 128 + WTERMSIG(status);  // only if the signal could not end us
  }
  return WEXITSTATUS(status);
}

}  // namespace

Result<int> run_in_child(int fd, const std::string& title, ArgumentWords words,
                         const std::function<int()>& work) {
  // Ignored, the kernel would reap the child and its status would be lost.
  (void)std::signal(SIGCHLD, SIG_DFL);
  // For Yama, where there is one: the child may freeze us. And we pass for a program with
  // libcr_run, as does whoever asks for it by --require-libcr; without memory for that, not.
  ::cri_allow_tracing();
  (void)::cri_block_create(CRI_KIND_RUN, CRI_OMIT_NEVER);
  const sigset_t set = passed_on();
  sigset_t before;
  (void)::sigprocmask(SIG_BLOCK, &set, &before);  // fails only for a bad `how`
  const Pid parent = ::getpid();
  const Pid child = ::fork();
  if (child < 0) return sys::last_error("create", "a process for the checkpoint");
  if (child == 0) {
    follow_parent(parent);
    (void)::sigprocmask(SIG_SETMASK, &before, nullptr);
    leave_session();
    rename_process("stasis-worker", title, words);
    return work();
  }
  worker = child;
  if (fd >= 0) (void)::close(fd);  // must not be saved: it is the context file
  catch_signals();
  (void)::sigprocmask(SIG_SETMASK, &before, nullptr);
  return wait_for_worker();
}

bool is_for_us_alone(Pid pid) {
  const auto scope = sys::read_file("/proc/sys/kernel/yama/ptrace_scope");
  if (!scope || scope->starts_with('0')) return false;
  const Pid self = ::getpid();
  while (pid > 1) {
    const auto stat = proc::read_stat(pid);
    if (!stat) return false;
    pid = stat->parent;
    if (pid == self) return true;
  }
  return false;
}

}  // namespace stasis::cli
