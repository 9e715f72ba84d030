// The rules an image must keep beyond the shapes of its members: indices that lead somewhere,
// order, no overlaps. Writers check what they write, readers what they read, so that every other
// room may rely on them. It does not ask whether this machine could restart the image; that is
// restart::validate.
#pragma once

#include "base/result.h"
#include "model/image.h"

namespace stasis::model {

// EINVAL, naming the member that breaks a rule.
Result<void> validate(const Image& image);

}  // namespace stasis::model
