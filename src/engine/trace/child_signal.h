// SIGCHLD as an alarm clock for waits. Internal to trace/.
#pragma once

#include <pthread.h>
#include <signal.h>
#include <time.h>

#include "base/types.h"

namespace stasis::trace {

// Sleeps until SIGCHLD, which every stop sends to its tracer: at once awake again, where yielding
// or polling would lose the CPU to whoever spins. A signal that went elsewhere costs a millisecond.
class ChildSignal {
 public:
  ChildSignal() {
    sigemptyset(&set_);
    sigaddset(&set_, SIGCHLD);
    (void)::pthread_sigmask(SIG_BLOCK, &set_, &before_);  // cannot fail with these arguments
  }
  ChildSignal(const ChildSignal&) = delete;
  ChildSignal& operator=(const ChildSignal&) = delete;
  ~ChildSignal() {
    (void)::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
    // It may have told of a real child as well: whoever handles it in this process gets it after
    // all.
    if (taken_) (void)::raise(SIGCHLD);
  }
  // Whose stop it told of; 0: of none, or that cannot be known. Of several at once one is told.
  Pid sleep() {
    constexpr timespec kAtMost = {.tv_sec = 0, .tv_nsec = 1'000'000};
    siginfo_t info = {};
    if (::sigtimedwait(&set_, &info, &kAtMost) != SIGCHLD) return 0;
    taken_ = true;
    return info.si_pid;
  }

 private:
  sigset_t set_ = {}, before_ = {};
  bool taken_ = false;
};

}  // namespace stasis::trace
