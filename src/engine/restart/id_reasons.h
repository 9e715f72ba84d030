// What is told of the ladder: why a rung was not the one, each in its own words, and what was made
// of it in the end.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "restart/ids.h"
#include "restart/passes.h"

namespace stasis::restart {

struct RungReason {
  Rung rung = Rung::kSetTid;
  std::string why_not;  // of this rung, never of another
  std::string hint;
};

struct IdReasons {
  std::string held;  // who has an id of the image; empty: nobody
  std::vector<RungReason> rungs;
  std::optional<Error> untraceable;  // the kernel does not let us trace what we would make
};

// "found pid 12 in use by process 12 (sleep)".
std::string in_use(const Family& family, const Birth& held);

// Adds to the notes that namespaces were used, and why.
void note_namespaces(BuildState& state, const IdReasons& reasons);

// EBUSY, with all reasons and what the user can do.
Error no_rung_left(const IdReasons& reasons);

}  // namespace stasis::restart
