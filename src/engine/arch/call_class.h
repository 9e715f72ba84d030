// What kind of system call a thread was interrupted in: whether it fails with EINTR when disturbed,
// what hides behind restart_syscall, and whether it has a relative timeout. Pure; knows the system
// call numbers and argument order of the architecture, and the lists of signal(7) as measured.
#pragma once

#include <array>
#include <optional>
#include <string_view>

#include "arch/registers.h"

namespace stasis::arch {

// What the kernel leaves as the result of an interrupted call until it decides about restarting.
inline constexpr i64 kRestartSys = -512;
inline constexpr i64 kRestartNoIntr = -513;
inline constexpr i64 kRestartNoHand = -514;
inline constexpr i64 kRestartBlock = -516;

// Whether the registers are those of a call that the kernel will restart or turn into EINTR.
bool is_interrupted(const Registers& registers);

// Whether this call returns EINTR after any stop instead of restarting: epoll_wait and its class.
// Such a thread is frozen last, and -ERESTARTNOHAND as its result makes the kernel restart the
// call, or return EINTR if a handler runs.
bool returns_eintr(i64 number);
// The same for the result at a stop: also calls that do so only for some files (a socket with a
// timeout) and were not worth freezing late.
bool is_spurious_eintr(const Registers& registers);

// Number of the call behind `registers`: the second interruption of a call with a restart block
// shows as restart_syscall. Found in the instructions before the instruction pointer, else from
// where the kernel said the thread was waiting, else from the shape of the arguments. -1: cannot be
// told, or not in a call.
i64 interrupted_call(const Registers& registers, ByteView code_before,
                     std::string_view wait_channel);
// How many bytes of code interrupted_call() wants to see.
inline constexpr u64 kCodeBefore = 9;
bool is_restart_call(i64 number);

// A relative timeout among the arguments of a call.
struct CallTimeout {
  RemoteAddr timespec;  // where it lies; 0: `milliseconds` is it
  i64 milliseconds = 0;
  RemoteAddr remainder;  // where the kernel writes what is left when interrupted; may be 0
};
std::optional<CallTimeout> relative_timeout(i64 number, const std::array<u64, 6>& args);

std::array<u64, 6> arguments(const Registers& registers);

}  // namespace stasis::arch
