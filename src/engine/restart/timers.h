// Interval and POSIX timers as scripts. Pure but for probing and running.
#pragma once

#include <map>
#include <vector>

#include "base/result.h"
#include "restart/passes.h"
#include "trace/script.h"

namespace stasis::restart {

// Whether timers can be created with the ids we want (prctl PR_TIMER_CREATE_RESTORE_IDS, Linux
// 6.15), asked of the kernel.
bool timer_ids_can_be_chosen();

// Without that ids only count upwards: the largest we are ready to count to.
inline constexpr i32 kLargestCountedTimerId = 10'000'000;

struct TimerStep {
  Pid tid = 0;  // saved id of the thread that creates it
  trace::Script script;
  trace::DataRef id;  // where the kernel wrote the id
  i32 expected_id = 0;
  // Not a timer, but ids to be counted up, by count_script(): there may be millions of them.
  i32 count_from = 0, count_to = 0;
  [[nodiscard]] bool counts() const { return count_from < count_to; }
};
// One step a timer, in the order in which they must be run. `ids` are those the program sees.
// Where ids cannot be chosen, timers in between are created and deleted.
std::vector<TimerStep> timer_steps(const model::Process& process, const std::map<Pid, Pid>& ids,
                                   bool choose_ids);

// Creates and deletes a timer for each of the step's ids.
trace::Script count_script(const TimerStep& step);

// setitimer(2) for those that run.
void add_interval_timers(const model::Process& process, trace::Script& script);

// Makes and starts all timers of a process.
Result<void> rebuild_timers(BuildState& state, size_t process);

}  // namespace stasis::restart
