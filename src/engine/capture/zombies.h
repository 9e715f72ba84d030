// Children that have exited and that their parent, a frozen process, has not waited for.
#pragma once

#include <map>
#include <vector>

#include "base/result.h"
#include "model/process.h"
#include "trace/freeze.h"
#include "trace/remote_call.h"

namespace stasis::capture {

// Those of `process`; the ids of the model's zombies are ours, `inside` gets the ones that the
// processes know. How a child ended is hidden from us if it lived under another user or in another
// user namespace: then its parent is asked, which leaves it to be waited for.
Result<std::vector<model::Zombie>> zombies_of(trace::FrozenProcess& process,
                                              trace::RemoteCalls& calls,
                                              std::map<Pid, Pid>& inside);

}  // namespace stasis::capture
