// Ending processes as their tracer: the kernel tells us first, and its parent only when we have
// heard it. A child whose end sends no signal (exit_signal 0) is reaped with __WALL.
#include "restart/transients.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/sys.h"
#include "restart/signals.h"
#include "stub/stub.h"
#include "trace/ptrace.h"

namespace stasis::restart {
namespace {

// To be run by the parent: everything is blocked there, so that the signal waits.
void take_signal(int signal, trace::Script& script) {
  if (signal == 0) return;
  const u64 mask = u64{1} << (signal - 1);
  const u64 at_once[2] = {0, 0};
  script.attempt("take away the signal of a child's end", SYS_rt_sigtimedwait,
                 {script.object(mask), u64{0}, script.object(at_once), u64{sizeof mask}});
}

void reap_child(Pid child, trace::Script& script) {
  script.attempt("reap a helper", SYS_wait4,
                 {static_cast<u64>(child), u64{0}, u64{WNOHANG | __WALL}, u64{0}});
}

RemoteAddr call_of(const Target& target) {
  return arch::find_call(stub::code(), target.scratch().start);
}

// Of the signals that come before the end only `signal` is delivered.
Result<void> await_end(Pid pid, int signal = 0) {
  while (true) {
    const trace::Stop stop = TRY(trace::wait_for(pid, true));
    if (!stop.alive()) return {};
    const bool is_its = stop.event() == 0 && stop.signal() == signal;
    (void)trace::resume(pid, is_its ? signal : 0);  // ESRCH: it is just dying
  }
}

// No core dump: a limit of 1 byte, of all, is too small for a file and forbids the program that
// /proc/sys/kernel/core_pattern may name. Who may not even have that is made nondumpable, at the
// price of its status being visible to its parent and root alone.
Result<void> prepare_death(Target& target, const model::Zombie& zombie) {
  rlimit64 limit = {};
  TRY(sys::check(::prlimit64(target.pid(), RLIMIT_CORE, nullptr, &limit), "read",
                 "the limit of core dumps"));
  const bool one = limit.rlim_max >= 1;
  limit = {one ? 1U : 0U, one ? 1U : 0U};
  trace::Script script;
  script.call("set the name", SYS_prctl, {u64{PR_SET_NAME}, script.text(zombie.name)});
  script.call("set the limit of core dumps", SYS_prlimit64,
              {u64{0}, u64{RLIMIT_CORE}, script.object(limit), u64{0}});
  TRY(target.run(script));
  if (one) return {};
  const i64 answer =
      TRY(target.bare_call(target.pid(), call_of(target), SYS_prctl, {u64{PR_SET_DUMPABLE}, 0}));
  if (answer != 0) return sys::error_of(static_cast<int>(-answer), "make nondumpable", "a zombie");
  return {};
}

Result<void> die_of(Target& target, int signal) {
  const Pid pid = target.pid();
  TRY(trace::set_signal_mask(pid, 0));
  TRY(sys::check(::kill(pid, signal), "end", fmt::format("process {}", pid)));
  (void)trace::resume(pid);  // ESRCH: it was SIGKILL
  return await_end(pid, signal);
}

Result<void> exit_with(Target& target, int code) {
  arch::Registers registers = TRY(trace::get_registers(target.pid()));
  arch::set_call(registers, call_of(target), SYS_exit_group, {static_cast<u64>(code)});
  TRY(trace::set_registers(target.pid(), registers));
  TRY(trace::resume(target.pid()));
  return await_end(target.pid());
}

Result<void> end_zombie(Target& target, const model::Zombie& zombie) {
  TRY(prepare_death(target, zombie));
  const int status = zombie.wait_status;
  return WIFSIGNALED(status) ? die_of(target, WTERMSIG(status))
                             : exit_with(target, WEXITSTATUS(status));
}

Result<void> end_one(BuildState& state, size_t index) {
  const Member& member = state.family.members[index];
  Target& target = state.born.at(index);
  if (member.role == Role::kZombie) {
    TRY(end_zombie(target, state.zombie(index))
            .context(fmt::format("while ending zombie {}", member.id)));
  } else {
    TRY(exit_with(target, 0));
  }
  target.release();
  state.ended.push_back(target.pid());
  const auto maker = state.born.find(member.maker);
  trace::Script after;
  if (member.role != Role::kZombie) reap_child(state.own_ids.at(target.pid()), after);
  take_signal(member.exit_signal, after);
  if (maker != state.born.end()) TRY(maker->second.run(after));
  state.born.erase(index);
  return {};
}

}  // namespace

Result<void> drop_child(Target& maker, const Member& member, Pid outside, Pid inside) {
  TRY(sys::check(::kill(outside, SIGKILL), "end", "a process that has a wrong id"));
  TRY(await_end(outside));
  if (member.sibling) return {};  // it was our own child, and has been reaped
  trace::Script after;
  reap_child(inside, after);
  take_signal(member.exit_signal, after);
  TRY(maker.run(after));
  return {};
}

Result<void> end_transients(BuildState& state) {
  // Backwards: who was made later may have been made by an earlier one.
  for (size_t i = state.family.members.size(); i-- > state.context.image.processes.size();) {
    TRY(end_one(state, i));
  }
  return {};
}

void abandon(BuildState& state) {
  std::vector<Pid> pids = std::move(state.ended);
  for (const auto& [member, target] : state.born) pids.push_back(target.pid());
  for (const Target& target : state.targets) pids.push_back(target.pid());
  // Their parents die as well; what they have not reaped comes to us then and not to init.
  int was_reaper = 0;
  (void)::prctl(PR_GET_CHILD_SUBREAPER, &was_reaper, 0, 0, 0);
  (void)::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  state.born.clear();  // kills
  state.targets.clear();
  for (const Pid pid : pids) {
    (void)::waitid(P_PID, static_cast<id_t>(pid), nullptr, WEXITED | WNOHANG | __WALL);
  }
  (void)::prctl(PR_SET_CHILD_SUBREAPER, was_reaper, 0, 0, 0);
  state.ended.clear();
  state.ids.clear();
  state.ids_inside.clear();
  state.own_ids.clear();
  state.sessions_begun.clear();
}

}  // namespace stasis::restart
