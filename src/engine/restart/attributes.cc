// rebuild_attributes(): what belongs to the process as a whole and may be there before its threads
// are complete. What runs (timers), what waits (pending signals) and what takes rights away
// (limits, credentials, dumpable) comes in finish.cc.
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <cstdlib>

#include "arch/cpu_features.h"
#include "base/sys.h"
#include "restart/attributes.h"
#include "restart/passes.h"
#include "restart/proc_paths.h"
#include "restart/signals.h"

namespace stasis::restart {
namespace {

i32 own_oom_score() {
  const auto text = sys::read_file("/proc/self/oom_score_adj");
  return text ? static_cast<i32>(std::strtol(text->c_str(), nullptr, 10)) : 0;
}

// Lowering it below what we have ourselves needs a privilege; the kernel's victim list is not worth
// failing for.
void set_oom_score(Pid pid, const model::Process& process, BuildState& state) {
  std::vector<std::string>& notes = state.context.notes;
  if (!state.options.trusted && process.oom_score_adj < own_oom_score()) {
    notes.push_back(
        fmt::format("process {}: oom_score_adj {} is below ours, which its user may not choose",
                    process.pid, process.oom_score_adj));
    return;
  }
  const auto written = sys::write_file(fmt::format("/proc/{}/oom_score_adj", pid),
                                       fmt::format("{}", process.oom_score_adj));
  if (written) return;
  notes.push_back(fmt::format("process {}: oom_score_adj is not {} as it was: {}", process.pid,
                              process.oom_score_adj, written.error().message()));
}

void set_coredump_filter(Pid pid, const model::Process& process, std::vector<std::string>& notes) {
  if (!process.memory.coredump_filter) return;
  const std::string path = fmt::format("/proc/{}/coredump_filter", pid);
  const auto written = sys::write_file(path, fmt::format("{:#x}", *process.memory.coredump_filter));
  if (written) return;
  notes.push_back(fmt::format("process {} has lost its coredump_filter {:#x}: {}", process.pid,
                              *process.memory.coredump_filter, written.error().message()));
}

u64 state_permissions(const model::Process& process) {
  u64 components = process.state_permissions;
  for (const model::Thread& thread : process.threads) {
    if (!thread.registers.legacy) components |= arch::components_in_use(thread.registers.extended);
  }
  return components;
}

}  // namespace

trace::Script attributes_script(const model::Process& process) {
  constexpr u64 kArchReqXcompPerm = 0x1023;
  trace::Script script;
  script.call("set the umask", SYS_umask, {u64{process.umask}});
  script.call("set the personality", SYS_personality, {process.personality});
  if (process.child_subreaper) {
    script.call("become a subreaper", SYS_prctl, {u64{PR_SET_CHILD_SUBREAPER}, u64{1}});
  }
  for (const int component : arch::components_by_permission(state_permissions(process))) {
    script.call("ask leave for " + arch::component_names(u64{1} << component), SYS_arch_prctl,
                {kArchReqXcompPerm, static_cast<u64>(component)});
  }
  add_actions(process, script);
  return script;
}

trace::Script limits_script(const model::Process& process) {
  trace::Script script;
  for (const model::ResourceLimit& limit : process.limits) {
    const u64 values[2] = {limit.soft, limit.hard};
    script.call(fmt::format("set resource limit {}", limit.which), SYS_prlimit64,
                {u64{0}, static_cast<u64>(limit.which), script.object(values), u64{0}});
  }
  return script;
}

Result<void> rebuild_attributes(BuildState& state, size_t index) {
  const model::Process& process = state.process(index);
  Target& target = state.targets[index];
  set_oom_score(target.pid(), process, state);
  set_coredump_filter(target.pid(), process, state.context.notes);
  (void)TRY(target.run(attributes_script(process)).context(fmt::format("process {}", process.pid)));
  return {};
}

}  // namespace stasis::restart
