// PTRACE_DETACH forces each thread through the kernel's signal path, which restarts the call it was
// interrupted in from the raw registers. A leader that had exited is made to exit only here, as
// it was needed until now: it is let go right at a call of exit.
#include "restart/release.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/sys.h"
#include "proc/maps.h"
#include "proc/status.h"
#include "restart/control_blocks.h"
#include "restart/exit_guard.h"
#include "restart/stops.h"
#include "trace/ptrace.h"

namespace stasis::restart {
namespace {

// Sets the leader to call exit at the system call instruction of the vdso, which is at home now.
Result<void> prepare_exit(Target& target) {
  for (const proc::Area& area : TRY(proc::read_maps(target.pid()))) {
    if (!area.path.starts_with("[vdso")) continue;
    Bytes code(area.length());
    TRY(target.memory().read(area.start, code));
    const RemoteAddr call = arch::find_call(code, area.start);
    if (!call) break;
    arch::Registers registers = TRY(trace::get_registers(target.pid()));
    arch::set_call(registers, call, SYS_exit, {});
    return trace::set_registers(target.pid(), registers);
  }
  return fail(EOPNOTSUPP,
              fmt::format("process {} has no vdso through which its first thread could exit",
                          target.pid()));
}

// BLCR: the signal that was asked for, else what keeps a stopped process stopped.
int signal_for(const BuildState& state, size_t index) {
  if (runs_callbacks(state, index)) return 0;  // it is owed to it then
  const model::Process& process = state.process(index);
  if (state.options.signal > 0) return state.options.signal;
  if (state.stopped.contains(index)) return 0;
  return state.stopped_by_force.contains(index) ? SIGSTOP : stop_signal_of(process);
}

// Its parent is told only after us. A thread that is none of ours any more, as it was let go or an
// exec of another one has taken its place, is left alone.
void hear_of_its_end(const Target& target) {
  constexpr i64 kLookAgainMs = 10;
  const std::vector<Pid>& threads = target.threads();
  for (auto tid = threads.rbegin(); tid != threads.rend(); ++tid) {
    while (true) {
      const auto status = proc::read_status(target.pid(), *tid);
      if (!status || status->tracer != ::getpid()) break;
      // Our own child: hearing of it would be the wait for it, and its status be lost.
      if (*tid == target.pid() && status->parent == ::getpid()) break;
      (void)trace::wait_for(*tid, true, kLookAgainMs);
    }
  }
}

Result<void> detach_all(const Target& target) {
  const std::vector<Pid>& threads = target.threads();
  for (auto tid = threads.rbegin(); tid != threads.rend(); ++tid) TRY(trace::detach(*tid));
  return {};
}

}  // namespace

Result<void> prepare_release(BuildState& state, size_t process) {
  const model::Process& image = state.process(process);
  Target& target = state.targets[process];
  if (!image.threads.empty() && image.threads.front().zombie) TRY(prepare_exit(target));
  // It is taken when the first thread runs.
  const int signal = signal_for(state, process);
  if (signal == 0) return {};
  TRY(sys::check(::kill(target.pid(), signal), "signal", fmt::format("process {}", target.pid())));
  return {};
}

void let_live(const BuildState& state) {
  std::vector<Pid> pids;
  for (const Target& target : state.targets) pids.push_back(target.pid());
  ExitGuard guard(pids);
  for (const Target& target : state.targets) {
    for (const Pid tid : target.threads()) (void)trace::set_options(tid, 0);  // or it is dead
  }
  guard.let_live();
}

Result<void> release_process(BuildState& state, size_t process) {
  Target& target = state.targets[process];
  if (const auto gone = detach_all(target); !gone) {
    // Others that run already, or the signal that was asked for, may have ended it: so be it.
    if (gone.error().code != ESRCH) {
      return Result<void>(gone.error())
          .context(fmt::format("while letting process {} go", target.pid()));
    }
    hear_of_its_end(target);
  }
  target.release();
  return {};
}

}  // namespace stasis::restart
