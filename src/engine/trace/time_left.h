// How much time an interrupted call with a relative timeout had left. The kernel tells it only
// where the program asked to be told (nanosleep's second argument); otherwise it follows from when
// the thread fell asleep, which /proc/TID/sched shows. Never less than the truth. Internal to
// trace/.
#pragma once

#include <sched.h>

#include <map>
#include <optional>

#include "arch/call_class.h"
#include "base/result.h"
#include "trace/remote_memory.h"

namespace stasis::trace {

// When a thread fell asleep, in CLOCK_MONOTONIC, and how often it had by then.
struct SleepSample {
  i64 since_ns = 0;
  u64 sleeps = 0;
};

// Compares the scheduler's clocks with ours. They differ from CPU to CPU, so that we visit the CPU
// of each thread; the affinity of the calling thread is put back by the destructor.
class SleepClock {
 public:
  SleepClock() = default;
  SleepClock(const SleepClock&) = delete;
  SleepClock& operator=(const SleepClock&) = delete;
  ~SleepClock();

  // Of a thread that sleeps and has not been disturbed yet; nullopt where the kernel hides it.
  std::optional<SleepSample> sample(Pid pid, Pid tid);

 private:
  std::optional<i64> offset_of(int cpu);
  std::map<int, i64> offsets_ns_;  // CLOCK_MONOTONIC minus the CPU's clock
  std::optional<cpu_set_t> affinity_;
};

// Time left of the call that `registers` were interrupted in at `stopped_ns`; -1 if it has no
// relative timeout. `sample` was taken before the interruption; without a usable one the answer is
// the whole timeout, which is never too short.
i64 time_left(Pid pid, Pid tid, const RemoteMemory& memory, const arch::Registers& registers,
              i64 number, const std::optional<SleepSample>& sample, i64 stopped_ns);

// Whether time_left() will want a sample for a thread in this call.
bool wants_sample(i64 number, const std::array<u64, 6>& args);

i64 monotonic_ns();

}  // namespace stasis::trace
