// The signal that a checkpoint ends with.
#pragma once

#include <set>
#include <vector>

#include "base/result.h"
#include "base/types.h"
#include "base/unique_fd.h"
#include "trace/freeze.h"

namespace stasis::engine {

// Processes that are to get a signal, held by pidfds that were taken while they were frozen: once
// they run they may end, and their numbers be somebody else's.
class Addressees {
 public:
  // The process must be frozen. One that has died all the same is left out.
  Result<void> add(Pid pid);
  [[nodiscard]] bool empty() const { return pidfds_.empty(); }
  // Sends `signal` (its absolute value; 0: none) to those that have not ended.
  Result<void> send(int signal) const;
  // Waits for the end of all, so that their ids are free when a command that killed them returns.
  void await_death() const;

 private:
  std::vector<UniqueFd> pidfds_;
  std::vector<Pid> orphans_;
  std::set<Pid> pids_;
};

// Sends `signal` to some of those that are frozen, and lets all go. It is the first thing they see
// when they run on, so that nothing happens between the image and it. After SIGKILL they are
// awaited. Signal 0: just lets go.
Result<void> thaw_with_signal(trace::Freeze& freeze, const Addressees& addressees, int signal);

// The same for processes that run by now; those that have ended meanwhile do not count.
Result<void> send_signal(const Addressees& addressees, int signal);

}  // namespace stasis::engine
