// CBOR straight to the model, by the field lists (docs/format.md, "Manifest"): nothing is built but
// the model itself, and its memory is charged before it is taken.
#pragma once

#include "base/result.h"
#include "format/cbor.h"
#include "model/image.h"

namespace stasis::format {

// EINVAL with the path of the member that is missing, twice there, unknown but required, out of
// range or of a wrong shape; or what the reader answers.
Result<model::Image> read_image(CborReader& reader);

}  // namespace stasis::format
