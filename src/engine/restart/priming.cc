// The calls that return -ERESTART_RESTARTBLOCK, and the three stops of priming: entry; interrupted
// there, so that the call finds a reason to return as soon as it would sleep; the stop after it.
// Essay: docs/design/restart.md.
#include "restart/priming.h"

#include <fmt/format.h>
#include <linux/futex.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>

#include <algorithm>
#include <cerrno>

#include "arch/call_class.h"
#include "base/log.h"
#include "trace/ptrace.h"

namespace stasis::restart {
namespace {

constexpr i64 kSecondNs = 1'000'000'000;
constexpr i64 kMillisecondNs = 1'000'000;
constexpr u64 kFutexCommandMask = ~u64{FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME};

std::array<i64, 2> as_time(i64 ns) {
  i64 seconds = ns / kSecondNs;
  i64 rest = ns % kSecondNs;
  if (rest < 0) {
    rest += kSecondNs;
    --seconds;
  }
  return {seconds, rest};
}

// Any point in time that a program could mean, far below the largest number.
i64 ns_of(const std::array<i64, 2>& time) {
  constexpr i64 kFarSeconds = i64{1} << 32;
  return std::clamp<i64>(time[0], 0, kFarSeconds) * kSecondNs +
         std::clamp<i64>(time[1], 0, kSecondNs);
}

// The call as far as it is known; restart_syscall alone says nothing.
i64 number_of(const model::Thread& thread, const arch::Registers& registers) {
  if (thread.interrupted && thread.interrupted->number >= 0) return thread.interrupted->number;
  return arch::call_number(registers);
}

bool has_absolute_timeout(u64 futex_operation) {
  const u64 command = futex_operation & kFutexCommandMask;
  return command == FUTEX_WAIT_BITSET || command == FUTEX_LOCK_PI2 ||
         command == FUTEX_WAIT_REQUEUE_PI;
}

void set_remaining(PrimingCall& call, int argument, i64 remaining_ns) {
  if (remaining_ns < 0) return;  // not known: the whole time again
  call.time = as_time(remaining_ns);
  call.time_argument = argument;
}

void set_futex_time(PrimingCall& call, i64 remaining_ns, i64 shift_ns,
                    const std::optional<std::array<i64, 2>>& absolute) {
  constexpr int kTimeout = 3;
  if (!has_absolute_timeout(call.args[1])) {
    set_remaining(call, kTimeout, remaining_ns);
    return;
  }
  const bool realtime = (call.args[1] & FUTEX_CLOCK_REALTIME) != 0;
  if (!absolute || realtime || shift_ns == 0) return;
  set_remaining(call, kTimeout, std::max<i64>(ns_of(*absolute) + shift_ns, 0));
}

// clock_nanosleep(2) until a point in time, by a clock that a boot or a time namespace changes.
bool sleeps_until(const model::Thread& thread, const arch::Registers& registers) {
  if (arch::result(registers) != arch::kRestartNoHand) return false;
  if (number_of(thread, registers) != SYS_clock_nanosleep) return false;
  const u64 clock = arch::argument(registers, 0);
  return (arch::argument(registers, 1) & TIMER_ABSTIME) != 0 &&
         (clock == CLOCK_MONOTONIC || clock == CLOCK_BOOTTIME || clock == CLOCK_BOOTTIME_ALARM);
}

std::optional<PrimingCall> rest_of_sleep(const arch::Registers& registers, const ClockState& clocks,
                                         const std::optional<std::array<i64, 2>>& until) {
  const auto clock = static_cast<clockid_t>(arch::argument(registers, 0));
  const i64 shift = clocks.clocks.of(clock).image_ns;
  if (!until || shift == 0) return std::nullopt;
  const i64 now = clock == CLOCK_MONOTONIC ? clocks.monotonic_ns : clocks.boottime_ns;
  PrimingCall call{.number = SYS_clock_nanosleep, .args = {static_cast<u64>(clock), 0, 0, 0, 0, 0}};
  set_remaining(call, 2, std::max<i64>(ns_of(*until) + shift - now, 0));
  return call;
}

bool will_be_restarted(i64 result) {
  return result == arch::kRestartSys || result == arch::kRestartNoIntr ||
         result == arch::kRestartNoHand || result == -EINTR;
}

}  // namespace

RemoteAddr absolute_timeout(const model::Thread& thread, const arch::Registers& registers) {
  if (sleeps_until(thread, registers)) return {arch::argument(registers, 2)};
  if (arch::result(registers) != arch::kRestartBlock) return {};
  if (number_of(thread, registers) != SYS_futex) return {};
  if (!has_absolute_timeout(arch::argument(registers, 1))) return {};
  return {arch::argument(registers, 3)};
}

std::optional<PrimingCall> priming_call(const model::Thread& thread,
                                        const arch::Registers& registers, const ClockState& clocks,
                                        const std::optional<std::array<i64, 2>>& absolute) {
  if (sleeps_until(thread, registers)) return rest_of_sleep(registers, clocks, absolute);
  if (arch::result(registers) != arch::kRestartBlock) return std::nullopt;
  PrimingCall call;
  call.number = number_of(thread, registers);
  if (arch::is_restart_call(call.number)) return std::nullopt;  // nobody knows which
  for (int i = 0; i < 6; ++i) call.args[static_cast<size_t>(i)] = arch::argument(registers, i);
  const i64 remaining = thread.interrupted ? thread.interrupted->remaining_ns : -1;
  switch (call.number) {
    case SYS_nanosleep:
      set_remaining(call, 0, remaining);
      break;
    case SYS_clock_nanosleep:
      set_remaining(call, 2, remaining);
      break;
    case SYS_futex:
      set_futex_time(call, remaining, clocks.clocks.monotonic.image_ns, absolute);
      break;
#ifdef SYS_poll
    case SYS_poll:
      if (remaining >= 0) {
        call.args[2] = static_cast<u64>((remaining + kMillisecondNs - 1) / kMillisecondNs);
      }
      break;
#endif
    default:
      break;
  }
  return call;
}

Result<arch::Registers> prime(Target& target, Pid tid, RemoteAddr at, RemoteAddr data,
                              const PrimingCall& call, const arch::Registers& saved) {
  std::array<u64, 6> args = call.args;
  if (call.time) {
    TRY(target.memory().write_object(data, *call.time));
    args.at(static_cast<size_t>(call.time_argument)) = data.value;
  }
  arch::Registers registers = saved;
  arch::set_call(registers, at, call.number, args);
  TRY(trace::set_registers(tid, registers));
  TRY(trace::resume_to_call(tid));
  TRY(trace::wait_for(tid, true));  // entry
  TRY(trace::interrupt(tid));
  TRY(trace::resume(tid));
  const trace::Stop stop = TRY(trace::wait_for(tid, true));
  if (!stop.alive()) return fail(ESRCH, fmt::format("thread {} died while it was rebuilt", tid));
  const i64 result = arch::result(TRY(trace::get_registers(tid)));
  registers = saved;
  if (result == arch::kRestartBlock) {
    arch::set_result(registers, result);
    return registers;
  }
  if (will_be_restarted(result)) {
    // Not one of the calls with a block after all: the kernel simply makes it again.
    arch::set_result(registers, result == -EINTR ? arch::kRestartNoHand : result);
    arch::set_call_number(registers, call.number);
    return registers;
  }
  log::debug("thread {}: call {} was over at once: {}", tid, call.number, result);
  arch::set_result(registers, result);
  arch::set_call_number(registers, -1);
  return registers;
}

}  // namespace stasis::restart
