// What a restart does with an image before anything exists, where it is pure: what it refuses, whom
// it makes in which order, where memory goes.
#pragma once

#include "model/image.h"

namespace stasis::fuzz {

// `image` keeps the model's rules.
void check_plan(const model::Image& image);

}  // namespace stasis::fuzz
