// The third rung: a private pid namespace (in a private user namespace where we may not make one
// otherwise), in which every id is free and clone3(set_tid) is allowed. Its init, which only reaps
// and ends when nobody is left, mounts the /proc that belongs to it.
#pragma once

#include "base/result.h"
#include "restart/birth.h"

namespace stasis::restart {

struct NamespaceBirth {
  Pid pid = 0;             // the newborn, in our pid namespace; the child of `parent`
  bool own_users = false;  // a user namespace was made: capabilities must be given up again
};

// Clones a newborn that has `id` in new namespaces. `plan.keep_capabilities` is honoured.
// The error says which step the kernel refused.
Result<NamespaceBirth> clone_newborn_in_namespaces(const NewbornPlan& plan, const Gate& gate,
                                                   Pid id);

}  // namespace stasis::restart
