// Ids as the captured processes know them, which in a pid namespace below ours are not those by
// which we know them.
#pragma once

#include <map>

#include "model/image.h"

namespace stasis::capture {

// `inside`: every id of the image that the kernel told us -> the one the processes see. Parents,
// groups and sessions outside of the image are translated where the processes have a number for
// them; a parent outside whose number would then be that of one inside becomes 0.
void translate_ids(model::Image& image, const std::map<Pid, Pid>& inside);

}  // namespace stasis::capture
