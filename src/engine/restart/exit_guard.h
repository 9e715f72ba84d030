// ExitGuard: makes "they live on without us" one instant for a whole tree. The kernel keeps that
// (PTRACE_O_EXITKILL) for each thread apart: killed between two of them we would leave half of a
// tree behind. So a small process, which is not found by our name or group, stands by until the
// last one is cleared, and kills all if we have not told it so before we end.
#pragma once

#include <vector>

#include "base/types.h"
#include "base/unique_fd.h"

namespace stasis::restart {

class ExitGuard {
 public:
  // Returns when the guard holds them. The processes stand still, traced by us. Where no process is
  // to be had (ulimit -u) there is no guard.
  explicit ExitGuard(const std::vector<Pid>& pids);
  ExitGuard(const ExitGuard&) = delete;
  ExitGuard& operator=(const ExitGuard&) = delete;
  ~ExitGuard();

  // From here on all of them live. One system call.
  void let_live();

 private:
  UniqueFd channel_;
  Pid pid_ = 0;
};

}  // namespace stasis::restart
