// arch/call_class: which call a thread is in, and what a stop does to it.
#include "arch/call_class.h"

#include <doctest/doctest.h>
#include <linux/futex.h>
#include <sys/syscall.h>

#include <cerrno>

using namespace stasis;

namespace {

arch::Registers in_call(i64 number, i64 result, std::array<u64, 6> args = {}) {
  arch::Registers registers;
  arch::set_call(registers, {0x401000}, number, args);
  arch::set_call_number(registers, number);
  arch::set_result(registers, result);
  return registers;
}

Bytes bytes(std::initializer_list<int> values) {
  Bytes result;
  for (const int value : values) result.push_back(static_cast<std::byte>(value));
  return result;
}

constexpr u64 kStack = 0x7ffd12345678;
const i64 kRestart = SYS_restart_syscall;

}  // namespace

TEST_CASE("arguments come back in the order of the call") {
  const auto registers = in_call(SYS_futex, 0, {1, 2, 3, 4, 5, 6});
  CHECK(arch::arguments(registers) == std::array<u64, 6>{1, 2, 3, 4, 5, 6});
  CHECK(arch::argument(registers, 3) == 4);
}

TEST_CASE("registers survive as bytes and other sizes are refused") {
  const auto registers = in_call(SYS_read, -512, {9, 8, 7, 6, 5, 4});
  const auto again = arch::from_bytes(arch::to_bytes(registers));
  REQUIRE(again.ok());
  CHECK(arch::to_bytes(*again) == arch::to_bytes(registers));
  CHECK(arch::from_bytes(Bytes(68)).error().code == EINVAL);
}

TEST_CASE("only a thread in a call can be interrupted in one") {
  CHECK(arch::is_interrupted(in_call(SYS_read, -512)));
  CHECK(arch::is_interrupted(in_call(SYS_poll, -516)));
  CHECK(!arch::is_interrupted(in_call(SYS_read, -515)));
  CHECK(!arch::is_interrupted(in_call(SYS_read, 5)));
  CHECK(!arch::is_interrupted(in_call(-1, -512)));  // a program computing with -512
}

TEST_CASE("epoll_wait's class is told from calls that restart by themselves") {
  for (const long number : {SYS_epoll_wait, SYS_epoll_pwait, SYS_epoll_pwait2, SYS_semop,
                            SYS_semtimedop, SYS_rt_sigtimedwait, SYS_io_getevents}) {
    CHECK(arch::returns_eintr(number));
  }
  for (const long number : {SYS_poll, SYS_futex, SYS_nanosleep, SYS_read, SYS_wait4, SYS_select}) {
    CHECK(!arch::returns_eintr(number));
  }
}

TEST_CASE("an EINTR is ours only in calls that the kernel would not restart") {
  CHECK(arch::is_spurious_eintr(in_call(SYS_epoll_wait, -EINTR)));
  CHECK(arch::is_spurious_eintr(in_call(SYS_recvfrom, -EINTR)));  // with SO_RCVTIMEO
  CHECK(!arch::is_spurious_eintr(in_call(SYS_epoll_wait, 1)));
  CHECK(!arch::is_spurious_eintr(in_call(SYS_close, -EINTR)));
  CHECK(!arch::is_spurious_eintr(in_call(kRestart, -EINTR)));
  CHECK(!arch::is_spurious_eintr(in_call(-1, -EINTR)));
}

TEST_CASE("the call behind restart_syscall is read from the instructions before it") {
  const auto registers = in_call(kRestart, -516, {kStack, 0, 0});
  // mov $35,%eax; syscall
  CHECK(arch::interrupted_call(registers, bytes({0x90, 0x90, 0xb8, 35, 0, 0, 0, 0x0f, 0x05}), "") ==
        SYS_nanosleep);
  // mov $7,%rax; syscall
  CHECK(arch::interrupted_call(registers, bytes({0x48, 0xc7, 0xc0, 7, 0, 0, 0, 0x0f, 0x05}), "") ==
        SYS_poll);
  // A number that cannot have a restart block is a coincidence.
  CHECK(arch::interrupted_call(registers, bytes({0x90, 0x90, 0xb8, 1, 0, 0, 0, 0x0f, 0x05}),
                               "futex_wait_queue") == SYS_futex);
}

TEST_CASE("other calls and threads in none are what they show") {
  CHECK(arch::interrupted_call(in_call(SYS_futex, -512), {}, "") == SYS_futex);
  CHECK(arch::interrupted_call(in_call(-1, 0), {}, "") == -1);
}

TEST_CASE("without readable code the kernel's wait channel decides") {
  const auto registers = in_call(kRestart, -516, {kStack, 1, 100});
  CHECK(arch::interrupted_call(registers, {}, "poll_schedule_timeout.constprop.0") == SYS_poll);
  CHECK(arch::interrupted_call(registers, {}, "futex_wait_queue") == SYS_futex);
}

TEST_CASE("at last the shape of the arguments decides") {
  const auto shape = [](std::array<u64, 6> args) {
    return arch::interrupted_call(in_call(kRestart, -516, args), {}, "do_syscall_64");
  };
  CHECK(shape({kStack, kStack, 0}) == SYS_nanosleep);
  CHECK(shape({kStack, 0, 0}) == SYS_nanosleep);
  CHECK(shape({0, 0, kStack, kStack}) == SYS_clock_nanosleep);
  CHECK(shape({1, 0, kStack, 0}) == SYS_clock_nanosleep);
  CHECK(shape({0, 0, 5000}) == SYS_poll);
  CHECK(shape({kStack, 2, 5000}) == SYS_poll);
  CHECK(shape({kStack & ~u64{3}, FUTEX_WAIT_PRIVATE, 0, kStack}) == SYS_futex);
}

TEST_CASE("relative timeouts are found, absolute and absent ones are not") {
  const auto sleep = arch::relative_timeout(SYS_nanosleep, {100, 200});
  REQUIRE(sleep.has_value());
  CHECK(sleep->timespec == RemoteAddr{100});
  CHECK(sleep->remainder == RemoteAddr{200});
  CHECK(arch::relative_timeout(SYS_clock_nanosleep, {1, 0, 300, 0})->timespec == RemoteAddr{300});
  CHECK(!arch::relative_timeout(SYS_clock_nanosleep, {1, 1, 300, 0}));
  CHECK(arch::relative_timeout(SYS_poll, {1, 1, 250})->milliseconds == 250);
  CHECK(!arch::relative_timeout(SYS_poll, {1, 1, 0xffffffff}));
  CHECK(arch::relative_timeout(SYS_futex, {8, FUTEX_WAIT_PRIVATE, 0, 400})->timespec ==
        RemoteAddr{400});
  CHECK(!arch::relative_timeout(SYS_futex, {8, FUTEX_WAIT_BITSET_PRIVATE, 0, 400}));
  CHECK(!arch::relative_timeout(SYS_futex, {8, FUTEX_WAIT_PRIVATE, 0, 0}));
  CHECK(!arch::relative_timeout(SYS_read, {0, 1, 2}));
}
