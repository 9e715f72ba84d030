// Whether the image's vdso is this kernel's, and if not, how programs that hold addresses inside
// the old one go on: its bytes stay at its home as ordinary memory, every function a jump to the
// function of the same name in this kernel's vdso, which lies elsewhere.
#pragma once

#include <optional>
#include <vector>

#include "base/result.h"
#include "model/image.h"
#include "restart/passes.h"

namespace stasis::restart {

// This kernel's vdso, as our own process has it; empty where there is none.
Bytes own_vdso();
// Whether the kernel forbids to move it (CONFIG_MSEAL_SYSTEM_MAPPINGS).
Result<bool> vdso_is_sealed();

// Whether `memory` has vdso areas of the same sizes as ours, and the same bytes (`image`, `own`).
bool same_vdso(ByteView image, ByteView own);

// What speaks against redirecting the image's vdso here; empty when it can be, or need not be.
std::vector<Refusal> vdso_obstacles(const model::Image& image, ByteView own);

// Moves the vdso areas of the target home, or elsewhere with a redirected copy of the old at home.
Result<void> settle_vdso(BuildState& state, size_t process);

// A system call instruction that stays in the target when the scratch area is gone.
Result<RemoteAddr> lasting_call_instruction(Target& target);

}  // namespace stasis::restart
