// All of /proc is read, but only when the ID is not one of this user's here. Which namespaces are
// ours shows in their first process.
#include "find_id.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <set>
#include <vector>

#include "base/sys.h"
#include "proc/inner_ids.h"
#include "proc/status.h"

namespace stasis::cli {
namespace {

using engine::Scope;

constexpr std::string_view kInit = "stasis-init";

bool is_users(const proc::Status& status) {
  const u32 user = ::getuid();
  return user == 0 || (!status.uids.empty() && status.uids[0] == user);
}

Pid number_of(const proc::Stat& stat, Scope scope) {
  switch (scope) {
    case Scope::kGroup:
      return stat.group;
    case Scope::kSession:
      return stat.session;
    case Scope::kProcess:
    case Scope::kTree:
      break;
  }
  return stat.pid;
}

// As the process itself sees it.
Pid inner_number_of(const proc::InnerIds& ids, Scope scope) {
  switch (scope) {
    case Scope::kGroup:
      return ids.group;
    case Scope::kSession:
      return ids.session;
    case Scope::kProcess:
    case Scope::kTree:
      break;
  }
  return ids.pid;
}

// A process (thread, group, session) of this user's has the ID here.
bool is_here(Pid asked, Scope scope, const std::vector<int>& pids) {
  if (scope == Scope::kProcess || scope == Scope::kTree) {
    const auto status = proc::read_status(asked);  // shows threads as well
    return status.ok() && is_users(*status);
  }
  return std::ranges::any_of(pids, [&](int pid) {
    const auto stat = proc::read_stat(pid);
    if (!stat || number_of(*stat, scope) != asked) return false;
    const auto status = proc::read_status(pid);
    return status.ok() && is_users(*status);
  });
}

struct Inhabitant {
  Pid pid = 0;
  proc::InnerIds ids;
  std::string space;  // its pid namespace
};

// All processes of this user in pid namespaces below ours that a restart made, but for their inits.
std::vector<Inhabitant> restarted(const std::vector<int>& pids) {
  std::vector<Inhabitant> found;
  std::set<std::string> spaces;
  for (const int pid : pids) {
    const auto status = proc::read_status(pid);
    if (!status || status->namespace_pids.size() < 2 || !is_users(*status)) continue;
    const auto ids = proc::read_inner_ids(pid);
    if (!ids) continue;
    const auto space = sys::read_link(fmt::format("/proc/{}/ns/pid", pid));
    if (!space) continue;
    if (ids->pid != 1) {
      found.push_back({pid, *ids, *space});
    } else if (status->name == kInit) {
      spaces.insert(*space);
    }
  }
  std::erase_if(found, [&](const Inhabitant& each) { return !spaces.contains(each.space); });
  return found;
}

std::string_view noun_of(Scope scope) {
  switch (scope) {
    case Scope::kGroup:
      return "process group";
    case Scope::kSession:
      return "session";
    case Scope::kProcess:
    case Scope::kTree:
      break;
  }
  return "process";
}

}  // namespace

Result<FoundId> find_id(Pid asked, Scope scope) {
  const auto pids = sys::list_numbers("/proc");
  if (!pids || is_here(asked, scope, *pids)) return FoundId{asked, {}};
  std::map<Pid, std::string> candidates;  // by their number here
  for (const Inhabitant& each : restarted(*pids)) {
    if (inner_number_of(each.ids, scope) != asked) continue;
    const auto stat = proc::read_stat(each.pid);
    if (stat) candidates.emplace(number_of(*stat, scope), proc::describe(each.pid));
  }
  if (candidates.empty()) return FoundId{asked, {}};
  const std::string_view noun = noun_of(scope);
  if (candidates.size() > 1) {
    std::string all;
    for (const auto& [id, who] : candidates) {
      all += fmt::format(
          "{}{}", all.empty() ? "" : ", ",
          who.starts_with(fmt::format("{} ", id)) ? who : fmt::format("{} of {}", id, who));
    }
    return fail(EINVAL,
                fmt::format("several restarted processes are in {} {} as they see it; here these "
                            "are: {}",
                            noun, asked, all),
                "Give one of these instead.");
  }
  const Pid id = candidates.begin()->first;
  return FoundId{id,
                 fmt::format("{} {} of a restarted program is {} {} here", noun, asked, noun, id)};
}

}  // namespace stasis::cli
