// A small image like a real one, for the tests of printing and comparing.
#pragma once

#include "model/image.h"

namespace stasis::model {

Image sample_image();

}  // namespace stasis::model
