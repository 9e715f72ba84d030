// Ctrl-C and its like, the parent's death, and the time limit, during a checkpoint: asked for once,
// the work is given up at its next step and cleans up after itself. Asked for twice, or when no
// step comes for some seconds (a pipe that nobody reads, a disk that hangs), the command ends at
// once, which the target survives as it survives SIGKILL of its checkpointer.
#pragma once

#include <atomic>
#include <chrono>
#include <csignal>
#include <functional>
#include <thread>

#include "base/types.h"
#include "base/unique_fd.h"

namespace stasis::cli {

// While it lives, SIGINT, SIGTERM, SIGHUP and kParentDied are blocked and taken by a thread of its
// own. Make it before other threads, which inherit the mask.
class CancelWatch {
 public:
  // `time_limit_ms`: what the work was given; negative: no limit. `last_act` is called by the
  // thread when the work is stuck beyond its limit; this process then ends with `limit_code`.
  CancelWatch(i64 time_limit_ms, int limit_code, std::function<void()> last_act);
  CancelWatch(const CancelWatch&) = delete;
  CancelWatch& operator=(const CancelWatch&) = delete;
  ~CancelWatch();

  [[nodiscard]] int signal() const { return signal_; }  // that asked to stop; 0: none so far

  // From now on only writing can hold the work up. Before, it has more time beyond its limit: it
  // tells callbacks that they are late, and looks at what they do.
  void note_writing() { writing_ = true; }

 private:
  using Clock = std::chrono::steady_clock;

  void watch();
  void take(int signal, Pid sender);
  [[nodiscard]] int patience_ms() const;  // how long to sleep; -1: until something happens

  sigset_t before_ = {};
  UniqueFd signals_, wake_;
  std::atomic<int> signal_ = 0;
  std::atomic<bool> writing_ = false;
  // The thread's alone, once it runs.
  Clock::time_point give_up_ = Clock::time_point::max();
  int times_asked_ = 0, times_passed_on_ = 0;
  int limit_code_;
  std::function<void()> last_act_;
  std::thread thread_;
};

// Ends this process as `signal` would by default, without a core file; returns if that
// fails, or at once for signal 0.
void die_of(int signal);

}  // namespace stasis::cli
