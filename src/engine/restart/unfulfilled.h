// Calls of a script that may fail, but whose failure is a loss that the user should know.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/types.h"
#include "trace/script.h"

namespace stasis::restart {

// Adds a note for each attempted call that failed and whose name begins with `what`; equal ones
// once: "process 7: cannot set the owner of descriptor 3: No such process".
void note_unfulfilled(std::string_view what, const trace::Script& script,
                      const trace::ScriptOutcome& outcome, Pid pid,
                      std::vector<std::string>& notes);

}  // namespace stasis::restart
