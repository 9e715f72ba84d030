// What the processor offers to user programs: an image made with more may not run with less.
#pragma once

#include <string>
#include <vector>

#include "base/types.h"

namespace stasis::arch {

// Names as /proc/cpuinfo writes them, sorted; only what user-mode instructions depend on.
std::vector<std::string> cpu_features();

// State components that the kernel has enabled for user programs (x86: XCR0); 0 without xsave.
u64 xcr0();

}  // namespace stasis::arch
