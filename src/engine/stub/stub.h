// The stub's machine code, to be copied anywhere into a process that is being built. What it does
// is told in script_abi.h and runner.c.
#pragma once

#include <cstddef>
#include <span>

extern "C" {
extern const std::byte stasis_stub_start;
extern const std::byte stasis_stub_end;
}

namespace stasis::stub {

inline std::span<const std::byte> code() {
  return {&stasis_stub_start, &stasis_stub_end};
}

}  // namespace stasis::stub
