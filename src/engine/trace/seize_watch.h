// SeizeWatch: PTRACE_SEIZE that cannot wait for ever. It takes a lock that execve(2) holds until
// all other threads of the process are gone; those that we hold already are gone only when we,
// their tracer, have taken note of it: without help both wait for each other. So a timer interrupts
// us while we wait, and the dead are looked after. Internal to trace/.
#pragma once

#include <csetjmp>
#include <csignal>
#include <ctime>
#include <map>

#include "base/result.h"
#include "base/types.h"

namespace stasis::trace {

struct HeldThread;

class SeizeWatch {
 public:
  // `held`: the threads that we hold; it must outlive this.
  explicit SeizeWatch(const std::map<Pid, HeldThread>& held);
  SeizeWatch(const SeizeWatch&) = delete;
  SeizeWatch& operator=(const SeizeWatch&) = delete;
  ~SeizeWatch();

  // ETIMEDOUT when CLOCK_MONOTONIC passes `deadline_ns` first.
  Result<void> seize(Pid tid, u64 options, i64 deadline_ns);

 private:
  static void on_tick(int);
  void tick();

  const std::map<Pid, HeldThread>& held_;
  bool watching_ = false;  // the timer could be made
  timer_t timer_ = {};
  struct sigaction action_before_ = {};
  sigset_t mask_before_ = {};
  i64 deadline_ns_ = 0;
  sigjmp_buf give_up_;
};

}  // namespace stasis::trace
