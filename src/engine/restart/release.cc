// PTRACE_DETACH forces each thread through the kernel's signal path, which restarts the call it was
// interrupted in from the raw registers. A leader that had exited is made to exit only here, as
// it was needed until now: it is let go right at a call of exit.
#include "restart/release.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>

#include "base/sys.h"
#include "proc/maps.h"
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
int signal_for(const BuildState& state, const model::Process& process) {
  if (state.options.signal > 0) return state.options.signal;
  return process.stopped ? SIGSTOP : 0;
}

}  // namespace

Result<void> release_process(BuildState& state, size_t process) {
  const model::Process& image = state.process(process);
  Target& target = state.targets[process];
  if (!image.threads.empty() && image.threads.front().zombie) TRY(prepare_exit(target));
  // Before the first thread runs; it is taken when the first one does.
  if (const int signal = signal_for(state, image); signal != 0) {
    TRY(sys::check(::kill(target.pid(), signal), "signal",
                   fmt::format("process {}", target.pid())));
  }
  const std::vector<Pid>& threads = target.threads();
  bool some_run = false;
  for (auto tid = threads.rbegin(); tid != threads.rend(); ++tid) {
    auto detached = trace::detach(*tid);
    // The threads that run already may end the process at once: then it has been let go.
    if (!detached && !(some_run && detached.error().code == ESRCH)) {
      return std::move(detached)
          .context(fmt::format("while letting process {} go", target.pid()))
          .take_error();
    }
    some_run = true;
  }
  target.release();
  return {};
}

}  // namespace stasis::restart
