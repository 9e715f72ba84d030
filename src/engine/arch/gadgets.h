// Gadgets: instructions that already lie in a program's code and let a thread make one system call
// and come back through rt_sigreturn, so that no code need ever be placed in a living target. Pure
// search over bytes; who reads them and from where is trace/'s business.
#pragma once

#include "base/types.h"

namespace stasis::arch {

struct Gadgets {
  RemoteAddr call;      // syscall; ret
  RemoteAddr restorer;  // number of rt_sigreturn into its register; syscall
  RemoteAddr pop;       // pop the number's register; ret  (used where there is no restorer)

  // Whether calls can be made and insured with these.
  [[nodiscard]] bool complete() const { return call && (restorer || pop); }
};

// Adds to `gadgets` what is missing and lies in `code`, which begins at `base`.
void find_gadgets(ByteView code, RemoteAddr base, Gadgets& gadgets);

// The longest gadget: blocks that are searched one after the other must overlap by this less one.
inline constexpr u64 kLongestGadget = 9;

// Whether a thread with its instruction pointer here may be inside one of the gadgets; `code`
// begins kLongestGadget bytes before the pointer and goes as far behind it.
bool is_within_gadget(ByteView code);

}  // namespace stasis::arch
