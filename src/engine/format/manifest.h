// A model::Image <-> the manifest of a context file: CBOR in one zstd frame (docs/format.md).
#pragma once

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
// EIO where zstd does not find what `length` promised, EINVAL where the CBOR is no image. Memory is
// bounded by the size of `stored`. The rules of model::validate are not looked at.
Result<model::Image> decode_manifest(ByteView stored, u64 length);

}  // namespace stasis::format
