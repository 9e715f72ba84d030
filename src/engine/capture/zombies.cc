// /proc shows a zombie until somebody waits for it, and nobody does: its parent stands still.
#include "capture/zombies.h"

#include <fmt/format.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cerrno>

#include "base/sys.h"
#include "proc/exit.h"
#include "proc/status.h"

namespace stasis::capture {
namespace {

constexpr i32 kCoreDumped = 0x80;  // in wait(2)'s status; the core file is not made again

bool is_zombie(const proc::Status& status) {
  return status.state == 'Z' && status.threads <= 1;
}

// waitid(2) with WNOWAIT inside the parent: the child stays to be waited for.
Result<i32> ask_parent(trace::FrozenProcess& process, trace::RemoteCalls& calls, Pid inside) {
  const i64 done =
      TRY(calls.call(SYS_waitid, {P_PID, static_cast<u64>(inside), calls.scratch().value,
                                  static_cast<u64>(WEXITED | WNOWAIT | WNOHANG | __WALL), 0}));
  const auto info = TRY(process.memory.read_object<siginfo_t>(calls.scratch()));
  if (done < 0 || info.si_pid != inside) {
    return fail(EIO, fmt::format("process {} does not know how its child {} ended",
                                 proc::describe(process.pid), inside));
  }
  return info.si_code == CLD_EXITED ? (info.si_status & 0xff) << 8 : info.si_status;
}

}  // namespace

Result<std::vector<model::Zombie>> zombies_of(trace::FrozenProcess& process,
                                              trace::RemoteCalls& calls,
                                              std::map<Pid, Pid>& inside) {
  std::vector<model::Zombie> zombies;
  for (const Pid pid : TRY(proc::read_children(process.pid))) {
    const auto status = proc::read_status(pid);
    if (!status || !is_zombie(*status)) continue;
    const proc::Stat stat = TRY(proc::read_stat(pid));
    const proc::ExitFacts end = TRY(proc::read_exit(pid));
    inside[pid] = status->namespace_pids.empty() ? pid : status->namespace_pids.back();
    model::Zombie zombie{.pid = pid,
                         .parent = process.pid,
                         .group = stat.group,
                         .session = stat.session,
                         .name = stat.name,
                         .wait_status = end.wait_status,
                         .exit_signal = end.exit_signal};
    if (zombie.wait_status == 0) {  // an exit with 0, or hidden from us
      zombie.wait_status = TRY(ask_parent(process, calls, inside[pid]));
    }
    zombie.wait_status &= ~kCoreDumped;
    zombies.push_back(std::move(zombie));
  }
  return zombies;
}

}  // namespace stasis::capture
