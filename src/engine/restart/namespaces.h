// The third rung: a private pid namespace (in a private user namespace where we may not make one
// otherwise), in which every id is free and clone3(set_tid) is allowed. Its init, which only reaps
// and ends when nobody is left, mounts the /proc that belongs to it.
#pragma once

#include <string>

#include "base/result.h"
#include "restart/birth.h"

namespace stasis::restart {

struct NamespaceWishes {
  int kept = -1;     // a descriptor that init holds as long as it lives; -1: none
  std::string time;  // offsets of a time namespace beside them; empty: none
};

// Clones a newborn that has `id` in new namespaces; the answer is its id in ours. With
// kOurParent we are in the new user namespace ourselves afterwards, for good. The error says which
// step the kernel refused.
Result<Pid> clone_newborn_in_namespaces(const NewbornPlan& newborn, const Gate& gate, Parent parent,
                                        Pid id, const NamespaceWishes& wishes);

}  // namespace stasis::restart
