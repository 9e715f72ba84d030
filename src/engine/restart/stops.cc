// SIGSTOP stops any process when it is released. The other stop signals are ignored in an orphaned
// process group, as that of a restart often is, though the saved one was none. There the process is
// stopped while it is built, in a group of its own for that moment; a thread that its tracer moves
// on from a group stop may still make calls, and the kernel stops it again, by the same signal,
// when it is detached (JOBCTL_STOP_PENDING in __ptrace_unlink()).
#include "restart/stops.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>

#include "base/sys.h"
#include "proc/status.h"
#include "restart/control_blocks.h"
#include "restart/signals.h"
#include "trace/ptrace.h"

namespace stasis::restart {
namespace {

Result<void> await_stop(Pid tid, int signal, int event) {
  const trace::Stop stop = TRY(trace::wait_for(tid, true));
  if (stop.alive() && stop.signal() == signal && stop.event() == event) return {};
  return fail(EIO, fmt::format("thread {} stopped by {:#x} where {} was expected", tid, stop.status,
                               signal));
}

// The number by which the process knows its group; nullopt: it cannot see it, or leads a session.
std::optional<Pid> group_inside(const BuildState& state, Pid pid) {
  const auto stat = proc::read_stat(pid);
  if (!stat || stat->session == pid) return std::nullopt;
  if (state.way != IdWay::kNamespaces) return stat->group;
  for (const auto& [saved, here] : state.ids) {
    if (here == stat->group) return state.ids_inside.at(saved);
  }
  return std::nullopt;
}

// With the default action, and none pending that would be taken for it.
bool may_stop_by(const model::Process& process, int signal) {
  const auto is_it = [signal](const Bytes& info) { return signal_of(info) == signal; };
  return std::ranges::none_of(process.pending, is_it) &&
         std::ranges::none_of(process.actions, [signal](const model::SignalAction& action) {
           return action.signal == signal && action.handler.value != 0;
         });
}

// Delivers the signal to the worker, all of whose other signals are blocked.
Result<void> deliver(Pid pid, Pid worker, int signal) {
  TRY(trace::set_signal_mask(worker, ~(u64{1} << (signal - 1))));
  TRY(sys::check(::kill(pid, signal), "stop", fmt::format("process {}", pid)));
  TRY(trace::resume(worker));
  TRY(await_stop(worker, signal, 0));
  TRY(trace::resume(worker, signal));
  return await_stop(worker, signal, PTRACE_EVENT_STOP);
}

}  // namespace

int stop_signal_of(const model::Process& process) {
  if (!process.stopped) return 0;
  const int saved = process.stop_signal;
  const bool known = saved == SIGTSTP || saved == SIGTTIN || saved == SIGTTOU;
  return known ? saved : SIGSTOP;
}

bool group_is_orphaned(Pid pid) {
  const auto own = proc::read_stat(pid);
  const auto all = sys::list_numbers("/proc");
  if (!own || !all) return true;
  return std::ranges::none_of(*all, [&](Pid member) {
    const auto stat = proc::read_stat(member);
    if (!stat || stat->group != own->group || stat->state == 'Z' || stat->parent <= 1) return false;
    const auto parent = proc::read_stat(stat->parent);
    return parent.ok() && parent->group != own->group && parent->session == stat->session;
  });
}

Result<void> stop_as_before(BuildState& state, size_t index, Pid worker, RemoteAddr call_at) {
  const model::Process& process = state.process(index);
  Target& target = state.targets[index];
  const int signal = stop_signal_of(process);
  const bool otherwise = state.options.signal > 0 || runs_callbacks(state, index);
  if (otherwise || signal == 0 || signal == SIGSTOP) return {};
  if (!group_is_orphaned(target.pid())) return {};
  const auto group = group_inside(state, target.pid());
  // Where it cannot see the group that it is in, one that led a group leads one again.
  const bool leads = !group && process.group == process.pid && process.session != process.pid;
  const bool moved = (group || leads) && may_stop_by(process, signal) &&
                     TRY(target.bare_call(worker, call_at, SYS_setpgid, {0, 0})) == 0;
  if (!moved) {
    state.stopped_by_force.insert(index);
    state.context.notes.push_back(
        fmt::format("process {} was stopped by signal {} and is by SIGSTOP, as its process group "
                    "is orphaned here",
                    process.pid, signal));
    return {};
  }
  TRY(deliver(target.pid(), worker, signal));
  state.stopped.insert(index);
  if (leads) return {};
  const i64 back =
      TRY(target.bare_call(worker, call_at, SYS_setpgid, {0, static_cast<u64>(*group)}));
  if (back == 0) return {};
  return sys::error_of(static_cast<int>(-back), "return to its group",
                       fmt::format("process {}", process.pid));
}

}  // namespace stasis::restart
