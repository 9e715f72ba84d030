// How a process ended, or would tell its end: two fields of /proc/PID/stat that only zombies and
// their restart need.
#pragma once

#include <string_view>

#include "base/result.h"
#include "base/types.h"

namespace stasis::proc {

struct ExitFacts {
  i32 exit_signal = 0;  // what the parent gets at the end; -1 for a thread
  i32 wait_status = 0;  // as wait(2) tells it; 0 also where the kernel hides it from us
};
Result<ExitFacts> parse_exit(std::string_view stat);
Result<ExitFacts> read_exit(Pid pid);

}  // namespace stasis::proc
