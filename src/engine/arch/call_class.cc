// Lists of calls for x86_64. The class that returns EINTR was measured with 49 blocking calls on
// kernels 6.1, 6.12 and 6.18 (SEIZE, INTERRUPT, DETACH); it agrees with signal(7).
// Essay: docs/design/insured-calls.md.
#include "arch/call_class.h"

#include <linux/futex.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace stasis::arch {
namespace {

constexpr i64 kEintrClass[] = {SYS_epoll_wait,   SYS_epoll_pwait,   SYS_epoll_pwait2,
                               SYS_semop,        SYS_semtimedop,    SYS_rt_sigtimedwait,
                               SYS_io_getevents, SYS_io_pgetevents, SYS_io_uring_enter};
// EINTR only on sockets with SO_RCVTIMEO or SO_SNDTIMEO.
constexpr i64 kEintrOnSockets[] = {
    SYS_recvfrom, SYS_recvmsg, SYS_recvmmsg, SYS_sendto, SYS_sendmsg, SYS_sendmmsg, SYS_accept,
    SYS_accept4,  SYS_connect, SYS_read,     SYS_write,  SYS_readv,   SYS_writev};
// The calls that leave a restart block.
constexpr i64 kBlockCalls[] = {SYS_poll, SYS_nanosleep, SYS_futex, SYS_clock_nanosleep};

constexpr u64 kLowestPointer = 4096;

bool contains(std::span<const i64> list, i64 number) {
  return std::find(list.begin(), list.end(), number) != list.end();
}

// `mov $number, %eax; syscall` or its 64-bit form right before the instruction pointer.
i64 number_in_code(ByteView code) {
  const auto at_end = [&](size_t length) { return code.last(length); };
  const auto immediate = [&] {
    u32 value = 0;
    std::memcpy(&value, at_end(6).data(), sizeof value);
    return static_cast<i64>(value);
  };
  const auto is = [](ByteView bytes, std::initializer_list<int> values) {
    return std::equal(values.begin(), values.end(), bytes.begin(),
                      [](int value, std::byte byte) { return std::byte(value) == byte; });
  };
  if (code.size() < 7 || !is(at_end(2), {0x0f, 0x05})) return -1;
  if (is(at_end(7), {0xb8})) return immediate();
  if (code.size() >= 9 && is(at_end(9), {0x48, 0xc7, 0xc0})) return immediate();
  return -1;
}

i64 number_in_channel(std::string_view channel) {
  if (channel.find("futex") != std::string_view::npos) return SYS_futex;
  if (channel.find("poll") != std::string_view::npos) return SYS_poll;
  return -1;
}

bool is_pointer(u64 value) {
  return value >= kLowestPointer && value < (u64{1} << 47);
}

// Only the four calls with a restart block come into question.
i64 number_by_shape(const std::array<u64, 6>& args) {
  const u64 futex_op = args[1] & ~u64{FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME};
  const bool int_timeout = args[2] > 0 && args[2] < (u64{1} << 31);
  if (!is_pointer(args[0])) {
    // A clock id, or poll without descriptors.
    return args[0] == 0 && args[1] == 0 && int_timeout ? i64{SYS_poll} : i64{SYS_clock_nanosleep};
  }
  if (args[1] == 0 || is_pointer(args[1])) return SYS_nanosleep;
  const bool waits = futex_op == FUTEX_WAIT || futex_op == FUTEX_WAIT_BITSET;
  if (waits && args[0] % 4 == 0 && is_pointer(args[3])) return SYS_futex;
  return int_timeout ? i64{SYS_poll} : i64{-1};
}

}  // namespace

std::array<u64, 6> arguments(const Registers& registers) {
  std::array<u64, 6> args = {};
  for (int i = 0; i < 6; ++i) args[static_cast<size_t>(i)] = argument(registers, i);
  return args;
}

bool is_interrupted(const Registers& registers) {
  if (call_number(registers) < 0) return false;
  const i64 value = result(registers);
  return value == kRestartSys || value == kRestartNoIntr || value == kRestartNoHand ||
         value == kRestartBlock;
}

bool returns_eintr(i64 number) {
  return contains(kEintrClass, number);
}

bool is_spurious_eintr(const Registers& registers) {
  if (result(registers) != -EINTR) return false;
  const i64 number = call_number(registers);
  return returns_eintr(number) || contains(kEintrOnSockets, number);
}

bool is_restart_call(i64 number) {
  return number == SYS_restart_syscall;
}

i64 interrupted_call(const Registers& registers, ByteView code_before,
                     std::string_view wait_channel) {
  const i64 number = call_number(registers);
  if (number < 0) return -1;
  if (!is_restart_call(number)) return number;
  const i64 in_code = number_in_code(code_before);
  if (contains(kBlockCalls, in_code)) return in_code;
  const i64 in_channel = number_in_channel(wait_channel);
  if (in_channel >= 0) return in_channel;
  return number_by_shape(arguments(registers));
}

std::optional<CallTimeout> relative_timeout(i64 number, const std::array<u64, 6>& args) {
  CallTimeout timeout;
  switch (number) {
    case SYS_nanosleep:
      timeout.timespec = {args[0]};
      timeout.remainder = {args[1]};
      break;
    case SYS_clock_nanosleep:
      if ((args[1] & 1) != 0) return std::nullopt;  // TIMER_ABSTIME
      timeout.timespec = {args[2]};
      timeout.remainder = {args[3]};
      break;
    case SYS_futex:
      // All other waits take an absolute time.
      if ((args[1] & ~u64{FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME}) != FUTEX_WAIT)
        return std::nullopt;
      timeout.timespec = {args[3]};
      break;
    case SYS_poll:
      timeout.milliseconds = static_cast<i32>(args[2]);
      if (timeout.milliseconds <= 0) return std::nullopt;
      return timeout;
    default:
      return std::nullopt;
  }
  if (!timeout.timespec) return std::nullopt;
  return timeout;
}

}  // namespace stasis::arch
