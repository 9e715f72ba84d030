// Which process (group, session) a command's ID means. Mostly the one that has it here. Restarted
// processes may live in pid namespaces of their own, though, where they know themselves by other
// ids; such an id is good for the commands, too, if it is not in use here by the same user.
#pragma once

#include <string>

#include "base/result.h"
#include "base/types.h"
#include "engine/engine.h"

namespace stasis::cli {

struct FoundId {
  Pid id = 0;        // here
  std::string note;  // what was found, if it is not simply the ID; else empty
};

// `asked` itself when nothing is found: the engine says what is wrong with it. EINVAL, listing them
// all, when several restarted processes call themselves so.
Result<FoundId> find_id(Pid asked, engine::Scope scope);

}  // namespace stasis::cli
