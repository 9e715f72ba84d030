// differences(): rights that are smaller than they were, and what is not anybody's to choose.
#include "restart/differences.h"

#include <fmt/format.h>

#include <algorithm>

#include "restart/credentials.h"

namespace stasis::restart {
namespace {

std::string user_words(u32 login) {
  return login == ~u32{0} ? "none" : fmt::format("{}", login);
}

}  // namespace

std::vector<std::string> process_differences(const model::Process& process,
                                             const Machine& machine) {
  const std::string subject = fmt::format(
      "process {} ({})", process.pid, process.threads.empty() ? "" : process.threads.front().name);
  std::vector<std::string> notes =
      credential_notes(process.credentials, machine.credentials, subject);
  const bool all_bound = std::ranges::all_of(
      process.threads, [](const auto& thread) { return thread.no_new_privs || thread.zombie; });
  if (machine.no_new_privs && !all_bound) {
    notes.push_back(subject +
                    ": it could gain rights by the programs it executes and cannot any "
                    "more, as cr_restart cannot (no_new_privs)");
  }
  if (machine.seccomp) {
    notes.push_back(subject +
                    ": it runs under the seccomp filter that cr_restart has, and can therefore be "
                    "saved again by root only");
  }
  if (process.login && machine.login && *process.login != *machine.login) {
    notes.push_back(fmt::format("{}: its audit login uid was {} and now is {}", subject,
                                user_words(*process.login), user_words(*machine.login)));
  }
  if (process.label != machine.label) {
    notes.push_back(fmt::format("{}: its security label was \"{}\" and now is \"{}\"", subject,
                                process.label, machine.label));
  }
  return notes;
}

std::vector<std::string> differences(const model::Image& image) {
  const auto machine = this_machine();
  if (!machine) return {};  // validate() has said why
  std::vector<std::string> notes;
  for (const model::Process& process : image.processes) {
    for (std::string& note : process_differences(process, *machine)) {
      notes.push_back(std::move(note));
    }
  }
  return notes;
}

}  // namespace stasis::restart
