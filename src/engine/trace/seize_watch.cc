// The signal is SIGURG, which nobody here uses and which by default does nothing, so that a late
// one does no harm. It is blocked but for the system call itself.
// Essay: docs/design/freezing.md.
#include "trace/seize_watch.h"

#include <fmt/format.h>
#include <pthread.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "base/sys.h"
#include "trace/freezer.h"
#include "trace/time_left.h"

namespace stasis::trace {
namespace {

constexpr int kSignal = SIGURG;
constexpr long kTickNs = 20'000'000;

// A handler gets no argument of ours.
thread_local SeizeWatch* current = nullptr;

sigset_t only_ours() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, kSignal);
  return set;
}

}  // namespace

SeizeWatch::SeizeWatch(const std::map<Pid, HeldThread>& held) : held_(held) {
  const sigset_t set = only_ours();
  (void)::pthread_sigmask(SIG_BLOCK, &set, &mask_before_);  // cannot fail with these arguments
  struct sigaction action = {};
  action.sa_handler = on_tick;
  if (::sigaction(kSignal, &action, &action_before_) != 0) return;
  sigevent event = {};
  event.sigev_notify = SIGEV_THREAD_ID;
  event.sigev_signo = kSignal;
  event._sigev_un._tid = ::gettid();
  watching_ = ::timer_create(CLOCK_MONOTONIC, &event, &timer_) == 0;
  if (!watching_) return;  // then it is as it would be without us
  const itimerspec every = {.it_interval = {.tv_sec = 0, .tv_nsec = kTickNs},
                            .it_value = {.tv_sec = 0, .tv_nsec = kTickNs}};
  (void)::timer_settime(timer_, 0, &every, nullptr);
}

SeizeWatch::~SeizeWatch() {
  if (watching_) (void)::timer_delete(timer_);
  (void)::sigaction(kSignal, &action_before_, nullptr);
  (void)::pthread_sigmask(SIG_SETMASK, &mask_before_, nullptr);
}

void SeizeWatch::on_tick(int) {
  if (current != nullptr) current->tick();
}

// In a signal handler, though one that interrupts nothing but the wait in seize(). Not first
// threads: their end is for their parents, and execve(2) does not wait for it to be noted.
void SeizeWatch::tick() {
  for (const auto& [tid, thread] : held_) {
    if (tid == thread.pid || thread.phase == HeldThread::Phase::kGone) continue;
    const auto id = static_cast<id_t>(tid);
    siginfo_t info = {};
    // Looked at first: waitid(2) reports the stops of a tracee too, asked for or not, and a stop
    // that was taken here is one that the freezer waits for in vain.
    if (::waitid(P_PID, id, &info, WEXITED | WNOHANG | WNOWAIT | __WALL) != 0) continue;
    const bool ended =
        info.si_pid != 0 &&
        (info.si_code == CLD_EXITED || info.si_code == CLD_KILLED || info.si_code == CLD_DUMPED);
    if (ended) (void)::waitid(P_PID, id, &info, WEXITED | WNOHANG | __WALL);
  }
  if (monotonic_ns() >= deadline_ns_) siglongjmp(give_up_, 1);
}

// Nothing in the stretch where the signal may come allocates or owns anything. A wait in the
// handler may leave its own error number behind; callers look at the thread, not at the number.
Result<void> SeizeWatch::seize(Pid tid, u64 options, i64 deadline_ns) {
  const sigset_t set = only_ours();
  deadline_ns_ = deadline_ns;
  current = this;
  volatile int code = 0;
  if (sigsetjmp(give_up_, 1) == 0) {
    (void)::pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
    const long done = ::syscall(SYS_ptrace, static_cast<long>(PTRACE_SEIZE), static_cast<long>(tid),
                                0L, static_cast<long>(options));
    code = done == -1 ? sys::last_code() : 0;
    (void)::pthread_sigmask(SIG_BLOCK, &set, nullptr);
  } else {
    code = ETIMEDOUT;
  }
  current = nullptr;
  if (code == 0) return {};
  return sys::error_of(code, "attach to", fmt::format("thread {}", tid));
}

}  // namespace stasis::trace
