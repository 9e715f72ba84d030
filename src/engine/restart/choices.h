// What programs chose by prctl(2), membarrier(2) and set_mempolicy(2), chosen again
// (docs/attributes.md is the list). What this machine or user cannot give is told, not refused: a
// program runs right without any of it.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "model/process.h"
#include "restart/passes.h"
#include "trace/script.h"

namespace stasis::restart {

// Calls that may fail, and what is then said of each.
struct Wishes {
  struct Telling {
    size_t operation = 0;
    std::string lost;  // "it was an I/O flusher (prctl(PR_SET_IO_FLUSHER))"
  };
  trace::Script script;
  std::vector<Telling> tellings;

  void add(std::string lost, i64 number, std::vector<trace::Argument> args);
};

// Of the address space, but for the refusal to gain the right to execute memory, which comes last.
Wishes memory_wishes(const model::Memory& memory);
Wishes thread_wishes(const model::ThreadChoices& choices);
// The sentences for the wishes that failed. `subject`: "process 4711".
std::vector<std::string> lost_wishes(const Wishes& wishes, const trace::ScriptOutcome& outcome,
                                     const std::string& subject);

// Runs them: the process's, then each living thread's.
Result<void> rebuild_choices(BuildState& state, size_t process);

// No memory may be made executable from here on (PR_SET_MDWE): after the build, which made some.
// `worker`: a thread of the process that makes calls at `call_at`.
void deny_gain(BuildState& state, size_t process, Pid worker, RemoteAddr call_at);

}  // namespace stasis::restart
