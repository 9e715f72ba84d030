// Ctrl-C and its like, the command's death, and the time limit, during a checkpoint: asked for
// once, the work is given up at its next step and cleans up after itself. Asked for twice, or when
// no step comes for some seconds (a pipe that nobody reads, a disk that hangs), the command ends at
// once, which the target survives as it survives SIGKILL of its checkpointer. A command that is
// stopped (Ctrl-Z) does not stop the work, which goes on to its end, unless nothing takes what it
// writes: a reader that was stopped with the command must not hold the target.
#pragma once

#include <atomic>
#include <chrono>
#include <csignal>
#include <functional>
#include <optional>
#include <thread>

#include "base/result.h"
#include "base/types.h"
#include "base/unique_fd.h"

namespace stasis::cli {

// While it lives, SIGINT, SIGTERM, SIGHUP and kParentDied are blocked and taken by a thread of its
// own, or, where none is to be had, in keep_going(). Make it before other threads, which inherit
// the mask.
class CancelWatch {
 public:
  // `time_limit_ms`: what the work was given; negative: no limit. `last_act` is called by the
  // thread when the work is stuck beyond its limit; this process then ends with `limit_code`.
  // `command`: whose stop is watched; 0: nobody's.
  CancelWatch(i64 time_limit_ms, int limit_code, std::function<void()> last_act, Pid command = 0);
  CancelWatch(const CancelWatch&) = delete;
  CancelWatch& operator=(const CancelWatch&) = delete;
  ~CancelWatch();

  [[nodiscard]] int signal() const { return signal_; }  // that asked to stop; 0: none so far

  // Called some times a second by the work, with what is written and what there is; false: give up.
  // A `total` says that only writing can hold the work up. Before, it has more time beyond its
  // limit: it tells callbacks that they are late, and looks at what they do.
  bool keep_going(u64 done, u64 total);
  [[nodiscard]] bool command_is_stopped() const { return command_stopped_; }
  // Why keep_going() said no, where that was not a signal.
  [[nodiscard]] const std::optional<Error>& reason() const { return reason_; }

 private:
  using Clock = std::chrono::steady_clock;

  void start_thread();
  void watch();
  void look_at_command(u64 done, u64 total);
  void take_pending();
  void take(int signal, Pid sender);
  [[nodiscard]] int patience_ms() const;  // how long to sleep; -1: until something happens

  sigset_t before_ = {};
  sigset_t set_ = {};
  UniqueFd signals_, wake_;
  std::atomic<int> signal_ = 0;
  std::atomic<bool> writing_ = false;
  // The thread's alone, once it runs.
  Clock::time_point give_up_ = Clock::time_point::max();
  int times_asked_ = 0, times_passed_on_ = 0;
  int limit_code_;
  std::function<void()> last_act_;
  std::thread thread_;
  // The work's alone.
  Pid command_;
  bool command_stopped_ = false;
  u64 last_done_ = 0;
  Clock::time_point next_look_ = Clock::now(), last_move_ = Clock::now();
  std::optional<Error> reason_;
};

// Ends this process as `signal` would by default, without a core file; returns if that
// fails, or at once for signal 0.
void die_of(int signal);

}  // namespace stasis::cli
