// Ctrl-C and its like during a checkpoint: asked for once, the work is given up at its next step
// and cleans up after itself; asked for twice, or when nothing happens for some seconds, the
// command dies of the signal (which the target survives, as it survives SIGKILL of its
// checkpointer).
#pragma once

#include <atomic>
#include <csignal>
#include <thread>

#include "base/unique_fd.h"

namespace stasis::cli {

// While it lives, SIGINT, SIGTERM and SIGHUP are blocked and taken by a thread of its own. Make it
// before other threads, which inherit the mask.
class CancelWatch {
 public:
  CancelWatch();
  CancelWatch(const CancelWatch&) = delete;
  CancelWatch& operator=(const CancelWatch&) = delete;
  ~CancelWatch();

  [[nodiscard]] int signal() const { return signal_; }  // that asked to stop; 0: none so far

 private:
  void watch();

  sigset_t before_ = {};
  UniqueFd signals_, wake_;
  std::atomic<int> signal_ = 0;
  std::thread thread_;
};

// Ends this process as `signal` would by default, without a core file; returns if that
// fails, or at once for signal 0.
void die_of(int signal);

}  // namespace stasis::cli
