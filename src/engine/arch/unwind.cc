// x86_64: the numbering of the psABI, figure "DWARF Register Number Mapping".
#include "arch/unwind.h"

namespace stasis::arch {

std::optional<u64> dwarf_register(const Registers& registers, int number) {
  const user_regs_struct& raw = registers.raw;
  const std::array<u64, 17> values = {raw.rax, raw.rdx, raw.rcx, raw.rbx, raw.rsi, raw.rdi,
                                      raw.rbp, raw.rsp, raw.r8,  raw.r9,  raw.r10, raw.r11,
                                      raw.r12, raw.r13, raw.r14, raw.r15, raw.rip};
  if (number < 0 || static_cast<size_t>(number) >= values.size()) return std::nullopt;
  return values[static_cast<size_t>(number)];
}

}  // namespace stasis::arch
