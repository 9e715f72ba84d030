// Scripts of the last acts that may still run in the scratch area. Pure.
#pragma once

#include "base/types.h"
#include "model/process.h"
#include "trace/script.h"

namespace stasis::restart {

// What a thread gives up last: credentials down to the saved ones, no_new_privs, and (reset by a
// change of credentials) the parent-death signal. `now`: what it has.
trace::Script last_thread_script(const model::Process& process, const model::Thread& thread,
                                 const model::Credentials& now, bool own_namespace);

}  // namespace stasis::restart
