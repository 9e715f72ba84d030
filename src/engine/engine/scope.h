// Which processes a request means, at this moment.
#pragma once

#include <vector>

#include "base/result.h"
#include "engine/engine.h"

namespace stasis::engine {

struct ScopeMembers {
  std::vector<Pid> pids;     // alive; parents before children, those without a parent here first
  std::vector<Pid> zombies;  // exited, not waited for; they are no members
};

// The processes of a scope, without the one that asks (us). A tid names its process. A tree is
// the target and its descendants, but not those whose parent has exited: they are somebody else's
// by now. A group or session has those with that id, whoever their parent is. ESRCH when no member
// is alive.
Result<ScopeMembers> find_scope(Pid target, Scope scope);
Result<std::vector<Pid>> scope_members(Pid target, Scope scope);

// Why they cannot be traced, each that cannot be named (EPERM, kPtraced); those that are gone by
// now do not count.
Result<void> check_traceable(const std::vector<Pid>& pids);

}  // namespace stasis::engine
