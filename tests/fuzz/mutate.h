// Mutations that know what they change, so that a fuzzer comes behind hashes and lengths.
#pragma once

#include <random>

#include "base/types.h"

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t most);

namespace stasis::fuzz {

using Random = std::minstd_rand;

inline bool one_in(Random& random, unsigned count) {
  return random() % count == 0;
}

// libFuzzer's own mutation of a part, which may grow to `most` bytes.
inline Bytes mutate_bytes(Bytes bytes, size_t most) {
  const size_t size = bytes.size();
  bytes.resize(std::max(size, most));
  bytes.resize(LLVMFuzzerMutate(static_cast<uint8_t*>(static_cast<void*>(bytes.data())), size,
                                bytes.size()));
  return bytes;
}

// The CBOR of a manifest with some nodes changed: well-formed where it was so. Else as
// mutate_bytes().
Bytes mutate_cbor(const Bytes& cbor, size_t most, Random& random);

}  // namespace stasis::fuzz
