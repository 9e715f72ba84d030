// Calls with a restart block (nanosleep, poll, futex with a timeout): a new thread has none, so
// that the kernel would answer EINTR. Priming makes the call again in the new thread, with the time
// that was left, and interrupts it at once; then the kernel has its block, and goes on with it.
#pragma once

#include <array>
#include <optional>

#include "arch/registers.h"
#include "base/result.h"
#include "model/image.h"
#include "resource/handler.h"
#include "restart/target.h"

namespace stasis::restart {

// The call that primes a thread. `time` (seconds, nanoseconds), when there, is put into the target
// and its address becomes args[time_argument].
struct PrimingCall {
  i64 number = 0;
  std::array<u64, 6> args = {};
  std::optional<std::array<i64, 2>> time;
  int time_argument = 0;
  bool operator==(const PrimingCall&) const = default;
};

// The clocks of the process: how they stand to those of the image, and what they say now.
struct ClockState {
  resource::Clocks clocks;
  i64 monotonic_ns = 0, boottime_ns = 0;
};

// nullopt: the thread needs none. `absolute` is the time at the call's absolute timeout, when it
// could be read. A sleep until a point in time (clock_nanosleep with TIMER_ABSTIME) leaves no
// block; where its clock is another one now it becomes one of the time that is left, which does.
std::optional<PrimingCall> priming_call(const model::Thread& thread,
                                        const arch::Registers& registers, const ClockState& clocks,
                                        const std::optional<std::array<i64, 2>>& absolute);
// Where the absolute timeout of that call lies in the program; 0: it has none.
RemoteAddr absolute_timeout(const model::Thread& thread, const arch::Registers& registers);

// Makes the call in the stopped thread at the syscall instruction `at`, with room for 16 bytes at
// `data`. Returns what the registers must then be: the saved ones, or, when the call was over at
// once, those with its result.
Result<arch::Registers> prime(Target& target, Pid tid, RemoteAddr at, RemoteAddr data,
                              const PrimingCall& call, const arch::Registers& saved);

}  // namespace stasis::restart
