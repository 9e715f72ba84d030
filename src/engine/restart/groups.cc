// setpgid(2), made by each process itself. A group exists as long as somebody is in it, so that who
// founded one may go on to another afterwards.
#include "restart/groups.h"

#include <fmt/format.h>
#include <sys/syscall.h>

#include <set>

namespace stasis::restart {
namespace {

Result<void> set_group(BuildState& state, size_t member, std::string_view verb, Pid group, u64 id) {
  trace::Script script;
  script.call(fmt::format("{} process group {}", verb, group), SYS_setpgid, {u64{0}, id});
  TRY(state.born.at(member).run(script).context(
      fmt::format("while restoring the group of process {}", state.family.members[member].id)));
  return {};
}

}  // namespace

Result<void> form_groups(BuildState& state) {
  const std::vector<Member>& members = state.family.members;
  std::set<Pid> groups;
  for (const Member& member : members) groups.insert(member.group);
  for (size_t i = 0; i < members.size(); ++i) {
    // The leader of a session has its group already.
    if (!groups.contains(members[i].id) || members[i].leads_session) continue;
    TRY(set_group(state, i, "found", members[i].id, 0));
  }
  for (size_t i = 0; i < members.size(); ++i) {
    const Pid group = members[i].group;
    if (group == 0 || group == members[i].id) continue;
    TRY(set_group(state, i, "join", group, static_cast<u64>(state.ids_inside.at(group))));
  }
  return {};
}

}  // namespace stasis::restart
