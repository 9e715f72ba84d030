// User and group ids, groups and capabilities of a process: comparing those of the image with what
// is there, and the calls that get from one to the other without ever gaining anything. Pure but
// for reading what is there.
#pragma once

#include <vector>

#include "base/result.h"
#include "model/process.h"
#include "proc/status.h"
#include "trace/script.h"

namespace stasis::restart {

model::Credentials credentials_of(const proc::Status& status);

// What of `saved` cannot be had by a process with `ours`; `subject` names the process.
std::vector<Refusal> credential_obstacles(const model::Credentials& saved,
                                          const model::Credentials& ours,
                                          const std::string& subject);

// What of `saved` will be otherwise without harm, a sentence each.
std::vector<std::string> credential_notes(const model::Credentials& saved,
                                          const model::Credentials& ours,
                                          const std::string& subject);

// Calls that turn a thread's credentials `now` into `saved`; nothing when they are the same. User
// and group ids are left alone in a user namespace of ours (`own_namespace`): it knows only one.
trace::Script credentials_script(const model::Credentials& saved, const model::Credentials& now,
                                 bool own_namespace, bool keep_capabilities = false);

// User and group ids alone, of one thread; capabilities that `now` has are kept until the script
// above.
trace::Script ids_script(const model::Credentials& saved, const model::Credentials& now);

}  // namespace stasis::restart
