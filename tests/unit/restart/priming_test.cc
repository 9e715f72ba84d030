// Which call a thread makes to get its restart block back, from made-up registers.
#include "restart/priming.h"

#include <doctest/doctest.h>
#include <linux/futex.h>
#include <sys/syscall.h>

using namespace stasis;
using namespace stasis::restart;

namespace {

constexpr i64 kBlock = -516;

arch::Registers in_call(i64 number, const std::array<u64, 6>& args, i64 result = kBlock) {
  arch::Registers registers;
  arch::set_call(registers, {0x1000}, number, args);
  arch::set_call_number(registers, number);
  arch::set_result(registers, result);
  return registers;
}

model::Thread thread_in(i64 number, i64 remaining_ns) {
  model::Thread thread;
  thread.interrupted = {.number = number, .remaining_ns = remaining_ns};
  return thread;
}

ClockState shifted(i64 ns, i64 now_ns = 0) {
  return {.clocks = {.monotonic = {.image_ns = ns}}, .monotonic_ns = now_ns};
}

}  // namespace

TEST_CASE("a call without a restart block needs no priming") {
  const auto registers = in_call(SYS_read, {}, -512);
  CHECK(!priming_call(thread_in(SYS_read, -1), registers, {}, std::nullopt));
}

TEST_CASE("a sleep goes on with what was left of it") {
  const auto registers = in_call(SYS_nanosleep, {0x10, 0x20});
  const auto call =
      priming_call(thread_in(SYS_nanosleep, 1'250'000'000), registers, {}, std::nullopt);
  REQUIRE(call);
  CHECK(call->time == std::array<i64, 2>{1, 250'000'000});
  CHECK(call->time_argument == 0);
  CHECK(call->args[1] == 0x20);
}

TEST_CASE("a sleep whose time left is not known sleeps all of it again") {
  const auto registers = in_call(SYS_clock_nanosleep, {1, 0, 0x10, 0});
  const auto call = priming_call(thread_in(SYS_clock_nanosleep, -1), registers, {}, std::nullopt);
  REQUIRE(call);
  CHECK(!call->time);
  CHECK(call->args[2] == 0x10);
}

TEST_CASE("poll rounds up") {
  const auto registers = in_call(SYS_poll, {0x10, 2, 5000});
  const auto call = priming_call(thread_in(SYS_poll, 1'000'001), registers, {}, std::nullopt);
  REQUIRE(call);
  CHECK(call->args[2] == 2);
}

TEST_CASE("the call behind restart_syscall is made") {
  const auto registers = in_call(SYS_restart_syscall, {0x10, 0x20});
  const auto call = priming_call(thread_in(SYS_nanosleep, 5), registers, {}, std::nullopt);
  REQUIRE(call);
  CHECK(call->number == SYS_nanosleep);
  CHECK(!priming_call(model::Thread{}, registers, {}, std::nullopt));
}

TEST_CASE("a futex's relative timeout shrinks, an absolute one moves with the clock") {
  const auto relative = in_call(SYS_futex, {0x10, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, 1, 0x20});
  const auto thread = thread_in(SYS_futex, 7);
  CHECK(priming_call(thread, relative, {}, std::nullopt)->time == std::array<i64, 2>{0, 7});
  CHECK(!absolute_timeout(thread, relative));

  const auto absolute = in_call(SYS_futex, {0x10, FUTEX_WAIT_BITSET, 1, 0x20});
  CHECK(absolute_timeout(thread, absolute) == RemoteAddr{0x20});
  const std::array<i64, 2> then = {100, 5};
  CHECK(!priming_call(thread, absolute, {}, then)->time);  // the same boot
  CHECK(priming_call(thread, absolute, shifted(-10'000'000'000), then)->time ==
        std::array<i64, 2>{90, 5});
  const auto realtime =
      in_call(SYS_futex, {0x10, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, 1, 0x20});
  CHECK(!priming_call(thread, realtime, shifted(-10'000'000'000), then)->time);
}

TEST_CASE("a sleep until a point in time becomes one of what is left where the clock is another") {
  constexpr i64 kNoHand = -514;
  const std::array<i64, 2> then = {100, 5};
  const auto thread = thread_in(SYS_clock_nanosleep, -1);
  const auto until = [&](u64 clock, u64 flags) {
    return in_call(SYS_clock_nanosleep, {clock, flags, 0x20, 0}, kNoHand);
  };
  const auto sleep = until(CLOCK_MONOTONIC, TIMER_ABSTIME);
  CHECK(absolute_timeout(thread, sleep) == RemoteAddr{0x20});
  CHECK(!priming_call(thread, sleep, {}, then));  // the same clock: simply made again
  const auto call = priming_call(thread, sleep, shifted(-90'000'000'000, 7'000'000'000), then);
  REQUIRE(call);
  CHECK(call->args[1] == 0);
  CHECK(call->time == std::array<i64, 2>{3, 5});
  CHECK(priming_call(thread, sleep, shifted(-90'000'000'000, 70'000'000'000), then)->time ==
        std::array<i64, 2>{0, 0});  // it has come
  CHECK(!priming_call(thread, until(CLOCK_REALTIME, TIMER_ABSTIME), shifted(-9), then));
  CHECK(!priming_call(thread, until(CLOCK_MONOTONIC, 0), shifted(-9), then));
}
