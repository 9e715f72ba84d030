// Scopes: a process, its tree, its group or its session, from /proc.
#include "engine/scope.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

#include "base/sys.h"
#include "proc/status.h"

namespace stasis::engine {
namespace {

// Appends all descendants, parents before children.
Result<void> add_descendants(std::vector<Pid>& members) {
  for (size_t next = 0; next < members.size(); ++next) {
    const auto children = proc::read_children(members[next]);
    if (!children) continue;  // it has ended meanwhile: the freeze takes what is left
    members.insert(members.end(), children->begin(), children->end());
  }
  return {};
}

Result<void> add_matching(std::vector<Pid>& members, Scope scope, Pid id) {
  for (const int pid : TRY(sys::list_numbers("/proc"))) {
    const auto stat = proc::read_stat(pid);
    if (!stat) continue;
    const Pid its = scope == Scope::kGroup ? stat->group : stat->session;
    if (its == id && pid != members.front()) members.push_back(pid);
  }
  return {};
}

}  // namespace

Result<std::vector<Pid>> scope_members(Pid target, Scope scope) {
  const auto status = proc::read_status(target);
  if (!status) {
    return fail(ESRCH, fmt::format("there is no process {}", target));
  }
  std::vector<Pid> members = {status->tgid};
  if (scope == Scope::kTree) TRY(add_descendants(members));
  if (scope == Scope::kGroup || scope == Scope::kSession) {
    const proc::Stat stat = TRY(proc::read_stat(status->tgid));
    TRY(add_matching(members, scope, scope == Scope::kGroup ? stat.group : stat.session));
  }
  return members;
}

}  // namespace stasis::engine
