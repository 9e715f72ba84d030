// Which processes a request means.
#pragma once

#include <vector>

#include "base/result.h"
#include "engine/engine.h"

namespace stasis::engine {

// The processes of a scope, the target's first and parents before children. A tid names its
// process. ESRCH when there is none.
Result<std::vector<Pid>> scope_members(Pid target, Scope scope);

}  // namespace stasis::engine
