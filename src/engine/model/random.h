// Random images for tests: every member that a field list names gets a random value, then what must
// agree (indices, order, areas and runs) is put right, so that validate() accepts the result.
#pragma once

#include "model/image.h"

namespace stasis::model {

// The same seed gives the same image. Small: some processes, areas, runs of a few pages each.
Image random_image(u64 seed);

}  // namespace stasis::model
