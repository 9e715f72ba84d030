// A process is stopped again while it is built: a stop signal that was sent as it is let go would
// be taken after those that had come while it was stopped. A thread that its tracer moves on from a
// group stop may still make calls, and the kernel stops it again, by the same signal, when it is
// detached (JOBCTL_STOP_PENDING in __ptrace_unlink()). Stop signals other than SIGSTOP are ignored
// in an orphaned process group, as that of a restart often is, though the saved one was none: there
// the process is in a group of its own for that moment.
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

// Delivers the signal to the worker, all of whose other signals are blocked: those that wait for
// the process to go on are not taken before.
Result<void> deliver(Pid pid, Pid worker, int signal) {
  TRY(trace::set_signal_mask(worker, ~(u64{1} << (signal - 1))));
  TRY(sys::check(::kill(pid, signal), "stop", fmt::format("process {}", pid)));
  TRY(trace::resume(worker));
  TRY(await_stop(worker, signal, 0));
  TRY(trace::resume(worker, signal));
  return await_stop(worker, signal, PTRACE_EVENT_STOP);
}

// False: its group is orphaned, and it cannot leave it for a moment.
Result<bool> deliver_in_group(BuildState& state, size_t index, Pid worker, RemoteAddr call_at,
                              int signal) {
  const model::Process& process = state.process(index);
  Target& target = state.targets[index];
  const Pid pid = target.pid();
  if (!group_is_orphaned(pid)) {
    TRY(deliver(pid, worker, signal));
    return true;
  }
  const auto group = group_inside(state, pid);
  // Where it cannot see the group that it is in, one that led a group leads one again.
  const bool leads = !group && process.group == process.pid && process.session != process.pid;
  if (!group && !leads) return false;
  if (TRY(target.bare_call(worker, call_at, SYS_setpgid, {0, 0})) != 0) return false;
  TRY(deliver(pid, worker, signal));
  if (leads) return true;
  const i64 back =
      TRY(target.bare_call(worker, call_at, SYS_setpgid, {0, static_cast<u64>(*group)}));
  if (back == 0) return true;
  return sys::error_of(static_cast<int>(-back), "return to its group",
                       fmt::format("process {}", process.pid));
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
  const int signal = stop_signal_of(process);
  const bool otherwise = state.options.signal > 0 || runs_callbacks(state, index);
  // A first thread that has yet to exit would be stopped before: release sends the signal.
  const bool exits = !process.threads.empty() && process.threads.front().zombie;
  if (otherwise || signal == 0 || (exits && signal == SIGSTOP)) return {};
  if (signal != SIGSTOP && may_stop_by(process, signal) && !exits) {
    if (TRY(deliver_in_group(state, index, worker, call_at, signal))) {
      state.stopped.insert(index);
      return {};
    }
  }
  if (signal != SIGSTOP) {
    state.context.notes.push_back(fmt::format(
        "process {} was stopped by signal {} and is by SIGSTOP, as {} here", process.pid, signal,
        may_stop_by(process, signal) ? "its process group is orphaned"
                                     : "that signal would not stop it"));
  }
  if (exits) {
    state.stopped_by_force.insert(index);
    return {};
  }
  TRY(deliver(state.targets[index].pid(), worker, SIGSTOP));
  state.stopped.insert(index);
  return {};
}

}  // namespace stasis::restart
