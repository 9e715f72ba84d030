// XXH64 with seed 0, the checksum of context files (what `xxhsum -H64` prints). Written here
// because libzstd keeps its own to itself; it finds accidents, not attackers.
#pragma once

#include "base/types.h"

namespace stasis::format {

u64 hash_bytes(ByteView bytes);

}  // namespace stasis::format
