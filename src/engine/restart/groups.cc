// setsid and setpgid, made by the process itself; and the permission to be traced by everybody of
// the same user, without which Yama would forbid the next checkpoint (not inherited by children).
#include "restart/groups.h"

#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

namespace stasis::restart {
namespace {

Result<bool> add_session(trace::Script& script, const BuildState& state,
                         const model::Process& process) {
  if (!state.options.restore_session) return false;
  if (process.session == process.pid) {
    script.call(fmt::format("begin session {}", process.session), SYS_setsid, {});
    return true;
  }
  // A member inherited the session from its parent, if that was restored.
  if (state.ids.contains(process.session)) return false;
  return fail(
      EPERM, fmt::format("cannot join session {}: its leader is not in the image", process.session),
      "restart without --restore-sid");
}

void add_group(trace::Script& script, const BuildState& state, const model::Process& process) {
  const auto leader = state.ids_inside.find(process.group);
  const Pid group = leader == state.ids_inside.end() ? process.group : leader->second;
  const bool leads = process.group == process.pid;
  script.call(fmt::format("{} process group {}", leads ? "begin" : "join", group), SYS_setpgid,
              {u64{0}, leads ? u64{0} : static_cast<u64>(group)});
}

}  // namespace

Result<void> rebuild_groups(BuildState& state, size_t process) {
  const model::Process& image = state.process(process);
  trace::Script script;
  const bool leads_session = TRY(add_session(script, state, image));
  if (state.options.restore_group && !leads_session) add_group(script, state, image);
#ifdef PR_SET_PTRACER
  script.attempt("allow tracing", SYS_prctl,
                 {u64{PR_SET_PTRACER}, u64{PR_SET_PTRACER_ANY}, u64{0}, u64{0}, u64{0}});
#endif
  TRY(state.targets[process].run(script).context(
      fmt::format("while restoring the groups of process {}", image.pid)));
  return {};
}

}  // namespace stasis::restart
