// The stop that a tracer waits for before it detaches (CR_CHKPT_PTRACED_ALLOW).
#pragma once

#include <map>

#include "base/types.h"
#include "engine/deadline.h"

namespace stasis::engine {

// Signals to traced processes, at most two each. BLCR's signal stopped them, so that programs which
// trace and checkpoint detach at the next stop of their tracee.
class TracerCalls {
 public:
  // `pid` is traced, and its tracer is waited for.
  void call(Pid pid);

 private:
  struct Called {
    int signals = 0;
    Deadline quiet = Deadline(0);  // for a call that can be disturbed, and between two signals
  };
  std::map<Pid, Called> called_;
};

}  // namespace stasis::engine
