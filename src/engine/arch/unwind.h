// Registers by their DWARF numbers, as unwind tables name them: what a stack walk over an image
// starts from. It does not unwind.
#pragma once

#include <optional>

#include "arch/registers.h"
#include "base/types.h"

namespace stasis::arch {

// The value of DWARF register `number`; nullopt for one that general registers do not hold.
std::optional<u64> dwarf_register(const Registers& registers, int number);

}  // namespace stasis::arch
