// What keeps us from tracing even processes that we make ourselves: Yama's scopes 2 and 3. Asked
// from what everybody may read, so that a restart can say it before anything is made.
#pragma once

#include <optional>

#include "base/result.h"

namespace stasis::trace {

// `elsewhere`: processes in a user namespace that we make (which scope 2 allows). nullopt: none.
std::optional<Error> new_process_obstacle(bool elsewhere);

}  // namespace stasis::trace
