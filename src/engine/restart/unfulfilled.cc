// Telling of attempts that failed.
#include "restart/unfulfilled.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace stasis::restart {

void note_unfulfilled(std::string_view what, const trace::Script& script,
                      const trace::ScriptOutcome& outcome, Pid pid,
                      std::vector<std::string>& notes) {
  for (size_t i = 0; i < std::min(script.size(), outcome.results.size()); ++i) {
    const trace::Script::Call& call = script.operations()[i];
    const i64 result = outcome.results[i];
    if (result >= 0 || !call.what.starts_with(what)) continue;
    std::string text = fmt::format("process {}: cannot {}: {}", pid, call.what,
                                   ::strerror(static_cast<int>(-result)));
    if (std::ranges::find(notes, text) == notes.end()) notes.push_back(std::move(text));
  }
}

}  // namespace stasis::restart
