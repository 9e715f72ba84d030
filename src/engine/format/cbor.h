// The subset of CBOR (RFC 8949) that manifests use, read strictly: definite lengths, no tags, no
// floating point, bounded nesting and cost. Our own reader because nlohmann's recurses into nested
// indefinite strings without asking anybody, which a hostile file turns into a stack overflow.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "base/result.h"
#include "base/types.h"

namespace stasis::format {

inline constexpr int kMaxCborDepth = 32;
inline constexpr u64 kCborItemCost = 128;  // bytes of memory that one decoded item may take

// `budget` bounds the memory of the result, counted as its bytes plus kCborItemCost an item; beyond
// it, or where the bytes are not what a manifest may be: EINVAL with the offset.
Result<nlohmann::json> read_cbor(ByteView bytes, u64 budget);
// What read_cbor counts for `bytes`, which we made ourselves.
u64 cbor_cost(const nlohmann::json& json, u64 encoded_bytes);

}  // namespace stasis::format
