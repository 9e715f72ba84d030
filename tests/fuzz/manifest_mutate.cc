// libFuzzer's door to mutate_cbor().
#include <cstring>

#include "mutate.h"
#include "target.h"

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t most,
                                          unsigned int seed) {
  using namespace stasis::fuzz;
  Random random(seed);
  const stasis::ByteView in = view_of(data, size);
  const stasis::Bytes out = mutate_cbor({in.begin(), in.end()}, most, random);
  std::memcpy(data, out.data(), out.size());
  return out.size();
}
