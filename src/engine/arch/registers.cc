// General registers of x86_64, by role. Knows the user_regs_struct of the kernel and the system
// call convention (number in rax, arguments in rdi rsi rdx r10 r8 r9); decides nothing.
#include "arch/registers.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>

namespace stasis::arch {

Bytes to_bytes(const Registers& registers) {
  const auto view = std::as_bytes(std::span(&registers.raw, 1));
  return {view.begin(), view.end()};
}

Result<Registers> from_bytes(ByteView bytes) {
  Registers registers;
  if (bytes.size() != sizeof registers.raw) {
    return fail(EINVAL, fmt::format("{} bytes of registers where this machine has {}", bytes.size(),
                                    sizeof registers.raw));
  }
  std::memcpy(&registers.raw, bytes.data(), bytes.size());
  return registers;
}

RemoteAddr instruction_pointer(const Registers& registers) {
  return {registers.raw.rip};
}
void set_instruction_pointer(Registers& registers, RemoteAddr address) {
  registers.raw.rip = address.value;
}
RemoteAddr stack_pointer(const Registers& registers) {
  return {registers.raw.rsp};
}
void set_stack_pointer(Registers& registers, RemoteAddr address) {
  registers.raw.rsp = address.value;
}
RemoteAddr thread_pointer(const Registers& registers) {
  return {registers.raw.fs_base};
}
i64 result(const Registers& registers) {
  return static_cast<i64>(registers.raw.rax);
}
void set_result(Registers& registers, i64 value) {
  registers.raw.rax = static_cast<u64>(value);
}
i64 call_number(const Registers& registers) {
  return static_cast<i64>(registers.raw.orig_rax);
}
void set_call_number(Registers& registers, i64 number) {
  registers.raw.orig_rax = static_cast<u64>(number);
}

u64 argument(const Registers& registers, int index) {
  const auto& raw = registers.raw;
  const std::array<u64, 6> arguments = {raw.rdi, raw.rsi, raw.rdx, raw.r10, raw.r8, raw.r9};
  return arguments.at(static_cast<size_t>(index));
}

void set_call(Registers& registers, RemoteAddr at, i64 number, const std::array<u64, 6>& args) {
  auto& raw = registers.raw;
  raw.rip = at.value;
  raw.rax = static_cast<u64>(number);
  raw.rdi = args[0];
  raw.rsi = args[1];
  raw.rdx = args[2];
  raw.r10 = args[3];
  raw.r8 = args[4];
  raw.r9 = args[5];
  // Not in a call: otherwise a signal stop on the way would treat rax as the result of one.
  raw.orig_rax = ~u64{0};
}

RemoteAddr find_call(ByteView code, RemoteAddr base) {
  for (u64 i = 0; i + kSyscallLength <= code.size(); ++i) {
    if (code[i] == std::byte{0x0f} && code[i + 1] == std::byte{0x05}) return base + i;
  }
  return {};
}

}  // namespace stasis::arch
