// The general registers of a thread, by role. One .cc per architecture implements it; the rest of
// the engine never names a register.
#pragma once

#include <sys/user.h>

#include <array>
#include <cstddef>
#include <optional>

#include "base/result.h"
#include "base/types.h"

namespace stasis::arch {

// NT_PRSTATUS of the machine (x86_64: struct user_regs_struct).
struct Registers {
  user_regs_struct raw = {};
};

Bytes to_bytes(const Registers& registers);
Result<Registers> from_bytes(ByteView bytes);  // EINVAL when the size is not this machine's

RemoteAddr instruction_pointer(const Registers& registers);
void set_instruction_pointer(Registers& registers, RemoteAddr address);
RemoteAddr stack_pointer(const Registers& registers);
void set_stack_pointer(Registers& registers, RemoteAddr address);
RemoteAddr thread_pointer(const Registers& registers);  // fs_base
i64 result(const Registers& registers);                 // rax
void set_result(Registers& registers, i64 value);
// The call a thread is in or was interrupted in (orig_rax); negative: in none.
i64 call_number(const Registers& registers);
void set_call_number(Registers& registers, i64 number);
u64 argument(const Registers& registers, int index);

// Prepares a call: number and arguments in place, not yet in any call (orig_rax = -1), and the
// instruction pointer at `at`, which must be a syscall instruction.
void set_call(Registers& registers, RemoteAddr at, i64 number, const std::array<u64, 6>& args);

// Where the result lies in the user area (PTRACE_POKEUSER).
inline constexpr u64 kResultOffset = offsetof(user_regs_struct, rax);

// Length of the syscall instruction in bytes.
inline constexpr u64 kSyscallLength = 2;

// The first system call instruction in `code`, which begins at `base`; 0: none. What follows it is
// not looked at: good for calls that are driven by ptrace stops.
RemoteAddr find_call(ByteView code, RemoteAddr base);

}  // namespace stasis::arch
