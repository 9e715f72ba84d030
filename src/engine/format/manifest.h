// A model::Image <-> the manifest of a context file: CBOR in one zstd frame (docs/format.md).
#pragma once

#include <functional>

#include "base/result.h"
#include "base/types.h"
#include "model/image.h"

namespace stasis::format {

struct StoredManifest {
  Bytes stored;
  u64 length = 0;  // of the CBOR inside
};

// EFBIG if the image is beyond what any reader accepts.
Result<StoredManifest> encode_manifest(const model::Image& image);

// The largest that a manifest of `length` bytes of CBOR can be as it is stored; 0 where no manifest
// can have that length.
u64 most_stored(u64 length);

// Fills `out` with what is stored from byte `at` of the manifest.
using StoredBytes = std::function<Result<void>(u64 at, ByteSpan out)>;

// EIO where zstd does not find what `length` promised, EINVAL where the CBOR is no image. Read and
// unpacked a block at a time; memory is bounded by `stored` and by `length`, whatever is inside.
// The rules of model::validate are not looked at.
Result<model::Image> decode_manifest(const StoredBytes& read, u64 stored, u64 length);

}  // namespace stasis::format
