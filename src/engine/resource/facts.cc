// What can be learnt of a descriptor from outside: link, fdinfo, stat and, where ptrace access
// allows it, a duplicate. Nothing here moves an offset or consumes data.
#include <fmt/format.h>

#include "base/sys.h"
#include "resource/handler.h"

namespace stasis::resource {

std::string FdFacts::describe() const {
  return fmt::format("descriptor {} of process {} ({})", number, pid, link);
}

Result<FdFacts> read_facts(Pid pid, int pidfd, int number) {
  FdFacts facts;
  facts.pid = pid;
  facts.number = number;
  facts.link = TRY(proc::read_fd_link(pid, number));
  facts.info = TRY(proc::read_fdinfo(pid, number));
  if (pidfd >= 0) {
    facts.duplicate = TRY(sys::pidfd_getfd(pidfd, number).context(facts.describe()));
    facts.status = TRY(sys::fstat(facts.duplicate.get()));
  } else {
    facts.status = TRY(sys::stat(fmt::format("/proc/{}/fd/{}", pid, number)));
  }
  return facts;
}

}  // namespace stasis::resource
