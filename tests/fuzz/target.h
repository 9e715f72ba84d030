// What the fuzz targets share: the interface of libFuzzer, and an assertion that tells what broke.
// The address sanitizer has no breach to find in a value that is merely wrong; require() has.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string_view>

#include "base/types.h"

// Called with every input, by libFuzzer or by replay.cc. Always 0.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace stasis::fuzz {

// Ends the program, which libFuzzer takes for a finding, if a property does not hold.
inline void require(bool holds, std::string_view property) {
  if (holds) return;
  (void)std::fprintf(stderr, "does not hold: %.*s\n", static_cast<int>(property.size()),
                     property.data());
  std::abort();
}

inline ByteView view_of(const uint8_t* data, size_t size) {
  return std::as_bytes(std::span(data, size));
}
inline std::string_view text_of(const uint8_t* data, size_t size) {
  const ByteView view = view_of(data, size);
  return {static_cast<const char*>(static_cast<const void*>(view.data())), view.size()};
}

}  // namespace stasis::fuzz
