// The vdso: its symbols, and how a program made under another
// kernel can keep calling into the vdso it knew.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "base/types.h"

namespace stasis::arch {

struct VdsoSymbol {
  std::string name;
  u64 offset = 0;  // from the vdso's start
  bool operator==(const VdsoSymbol&) const = default;
};

// The functions that the vdso exports, by name. The bytes come from an image: every offset is
// checked.
Result<std::vector<VdsoSymbol>> vdso_symbols(ByteView vdso);

// The bytes of `old_vdso` with every exported function replaced by a jump to the function of the
// same name in `new_vdso`, which lies at `home`. ENOTSUP, naming the function, where there is none
// or no room for the jump.
Result<Bytes> redirect_vdso(ByteView old_vdso, ByteView new_vdso, RemoteAddr home);

}  // namespace stasis::arch
