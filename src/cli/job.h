// The restarted job as cr_restart's child: signals that cr_restart gets are passed on to it, and
// cr_restart ends as it ends. No handlers: signals stay blocked and are taken one by one.
#pragma once

#include <csignal>
#include <string>

#include "base/result.h"
#include "base/types.h"

namespace stasis::cli {

// Blocks what is to be forwarded, from before the restart until the job's end, so that nothing that
// comes in between is lost or ends cr_restart alone. Faults of cr_restart itself, SIGQUIT and the
// stop signals keep their effect until wait_for() begins.
class JobSignals {
 public:
  JobSignals();

  // A pending SIGINT, SIGTERM or SIGHUP (nobody has taken it yet), or 0: time to give up building.
  [[nodiscard]] int cancel_requested() const;

  // Waits for `root`, our child, forwarding signals; a stopped root is waited for, too. Returns its
  // wait status. Goes on in a copy of us that was saved and restarted, even if root has another pid
  // there. SIGKILL, SIGSTOP and SIGCHLD cannot or must not be forwarded, and signal 64 is the
  // checkpoint signal; SIGHUP is not when cr_restart was started with it ignored (nohup).
  Result<int> wait_for(Pid root);

 private:
  void forward(const siginfo_t& info, Pid root);

  bool hangup_ignored_ = false;
};

// Runs a --run-on-* command by /bin/sh with no signal blocked, and waits for it. Its exit code as a
// shell would tell it: 128 + N for death of signal N, 127 when it could not be run.
int run_hook(const std::string& command);

// Ends this process as the job ended: the same exit code, or death of the same signal.
[[noreturn]] void end_like(int wait_status);

}  // namespace stasis::cli
