// What a program has chosen by prctl(2), membarrier(2) and set_mempolicy(2), asked inside;
// docs/attributes.md is the list.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "capture/asker.h"
#include "model/process.h"

namespace stasis::capture {

Result<void> ask_thread_choices(Asker& ask, model::Thread& into);
// What belongs to the address space.
Result<void> ask_memory_choices(Asker& ask, model::Memory& into);

// Sentences about keyrings (keyrings(7)) of the thread or its process, which a restart does not
// make again. (Asking for that of the session would give the target one.)
Result<void> note_keyrings(Asker& ask, Pid tid, std::vector<std::string>& notes);

}  // namespace stasis::capture
