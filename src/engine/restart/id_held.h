// Who has an id that is wanted: a process or thread, or nobody any more but a process group or a
// session that is still called by it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/types.h"
#include "restart/family.h"

namespace stasis::restart {

// Quick: whether a process, thread or process group has the id. Sessions are not seen.
bool is_held(Pid id);

// Thorough, for messages: "process 12 (sleep)", "process group 12 of process 13 (sleep)", ...;
// empty: nobody.
std::string holder_of(Pid id);

// Whether who has the id may be what was saved, still running: a program of one of their names.
bool may_be_original(const model::Image& image, Pid id);

// One of the births whose id somebody has, and still has after a moment: most of what is met on a
// busy machine is about to end.
std::optional<Birth> find_held(const Family& family, const std::vector<Birth>& births);

}  // namespace stasis::restart
