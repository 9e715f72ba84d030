// The watching thread: signals come through a signalfd, so no handler runs anywhere.
#include "cancel.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <exception>
#include <limits>

#include "proc/status.h"
#include "worker.h"

namespace stasis::cli {
namespace {

constexpr std::chrono::milliseconds kPatienceAfterSignal{5000};
constexpr std::chrono::milliseconds kPatienceAfterLimit{2000};
constexpr std::chrono::milliseconds kPatienceWithCallbacks{8000};
constexpr std::chrono::milliseconds kPatienceWhileStopped{10000};
constexpr std::chrono::milliseconds kLookEvery{100};

}  // namespace

CancelWatch::CancelWatch(i64 time_limit_ms, int limit_code, std::function<void()> last_act,
                         Pid command)
    : limit_code_(limit_code), last_act_(std::move(last_act)), command_(command) {
  if (time_limit_ms >= 0) {
    give_up_ = Clock::now() + std::chrono::milliseconds(time_limit_ms) + kPatienceAfterLimit;
  }
  ::sigemptyset(&set_);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, kParentDied}) {
    struct sigaction action = {};
    (void)::sigaction(signal, nullptr, &action);  // cannot fail: the number is valid
    if (action.sa_handler != SIG_IGN) ::sigaddset(&set_, signal);  // nohup: stays ignored
  }
  signals_ = UniqueFd(::signalfd(-1, &set_, SFD_CLOEXEC));
  wake_ = UniqueFd(::eventfd(0, EFD_CLOEXEC));
  // The thread must not take a signal that the engine waits for (SIGCHLD): it starts with all of
  // them blocked.
  sigset_t all;
  ::sigfillset(&all);
  (void)::pthread_sigmask(SIG_SETMASK, &all, &before_);  // fails only for a bad `how`
  if (signals_ && wake_) start_thread();
  (void)::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  (void)::pthread_sigmask(SIG_BLOCK, &set_, nullptr);
}

// The user's limits may allow no thread, or no stack for one (ulimit -u, ulimit -v).
void CancelWatch::start_thread() {
  try {
    thread_ = std::thread([this] { watch(); });
  } catch (const std::exception&) {
  }
}

CancelWatch::~CancelWatch() {
  if (thread_.joinable()) {
    (void)::eventfd_write(wake_.get(), 1);  // an empty counter takes 1
    thread_.join();
  }
  (void)::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

bool CancelWatch::keep_going(u64 done, u64 total) {
  if (total > 0) writing_ = true;
  if (!thread_.joinable()) take_pending();
  look_at_command(done, total);
  return signal_ == 0 && !reason_;
}

void CancelWatch::take_pending() {
  const timespec now = {};
  siginfo_t info = {};
  while (::sigtimedwait(&set_, &info, &now) > 0) take(info.si_signo, info.si_pid);
}

// What is written while the command is stopped may go to a reader that is stopped as well.
void CancelWatch::look_at_command(u64 done, u64 total) {
  const auto now = Clock::now();
  if (command_ == 0 || now < next_look_) return;
  next_look_ = now + kLookEvery;
  const auto stat = proc::read_stat(command_);
  command_stopped_ = stat.ok() && stat->state == 'T';
  if (!command_stopped_ || total == 0 || done != last_done_) last_move_ = now;
  last_done_ = done;
  if (now - last_move_ < kPatienceWhileStopped) return;
  reason_ = fail(ETIMEDOUT, "the command was stopped, and nothing takes what it writes",
                 "the program goes on as before");
}

int CancelWatch::patience_ms() const {
  if (give_up_ == Clock::time_point::max()) return -1;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(give_up_ - Clock::now()).count();
  return static_cast<int>(std::clamp<i64>(left, 0, std::numeric_limits<int>::max()));
}

void CancelWatch::watch() {
  bool patient = false;
  for (;;) {
    pollfd waits[] = {{.fd = signals_.get(), .events = POLLIN, .revents = 0},
                      {.fd = wake_.get(), .events = POLLIN, .revents = 0}};
    const int ready = ::poll(waits, 2, patience_ms());
    if (waits[1].revents != 0) return;
    if (ready == 0 && signal_ == 0 && !writing_ && !patient) {
      give_up_ += kPatienceWithCallbacks;
      patient = true;
      continue;
    }
    if (ready == 0) {
      die_of(signal_);  // waited long enough
      last_act_();
      ::_exit(limit_code_);
    }
    signalfd_siginfo info = {};
    if (ready > 0 && ::read(signals_.get(), &info, sizeof info) == sizeof info) {
      take(static_cast<int>(info.ssi_signo), static_cast<Pid>(info.ssi_pid));
    }
  }
}

// What was sent to each of us comes twice: to us, and passed on by our parent.
void CancelWatch::take(int signal, Pid sender) {
  int& times = sender == ::getppid() ? times_passed_on_ : times_asked_;
  if (++times > 1) die_of(signal_);
  if (signal_ != 0) return;
  signal_ = signal;
  give_up_ = Clock::now() + kPatienceAfterSignal;
}

void die_of(int signal) {
  if (signal == 0) return;
  const rlimit no_core = {.rlim_cur = 0, .rlim_max = 0};
  (void)::setrlimit(RLIMIT_CORE, &no_core);  // lowering is always allowed
  struct sigaction action = {};
  action.sa_handler = SIG_DFL;
  (void)::sigaction(signal, &action, nullptr);
  sigset_t set;
  ::sigemptyset(&set);
  ::sigaddset(&set, signal);
  (void)::pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
  (void)::kill(::getpid(), signal);
}

}  // namespace stasis::cli
