// Files to which the processes append and that processes outside have open for writing, too: a
// restart must not take their lines away (resource/cut_back.h).
#pragma once

#include <span>
#include <vector>

#include "model/image.h"
#include "resource/writers.h"

namespace stasis::capture {

// Which outsider writes what `pids` append to. It looks at all processes of the machine, so it is
// not for a freeze.
resource::Writers find_other_writers(std::span<const Pid> pids);

// Says so in the image. `saved`: its processes as we know them; an outsider of before may be one.
void note_other_writers(model::Image& image, const resource::Writers& writers,
                        std::span<const Pid> saved);

}  // namespace stasis::capture
