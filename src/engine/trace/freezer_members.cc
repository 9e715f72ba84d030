// Freezer's third part: who belongs to the processes that are to be held, from round to round, and
// children that run in their parent's memory (vfork), whose parents cannot stop before they have
// let go of it.
#include <fmt/format.h>
#include <linux/kcmp.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>
#include <set>

#include "base/sys.h"
#include "trace/freezer.h"

namespace stasis::trace {
namespace {

using Phase = HeldThread::Phase;

bool share_memory(Pid parent, Pid child) {
  const auto same = sys::raw("compare", "memory", SYS_kcmp, parent, child, KCMP_VM, 0UL, 0UL);
  return same.ok() && *same == 0;
}

// The child that a process in an uninterruptible wait waits for in vfork(2), in words.
std::string awaited_child(Pid pid) {
  const auto children = proc::read_children(pid);
  if (!children) return "";
  for (const Pid child : *children) {
    if (!share_memory(pid, child)) continue;
    return fmt::format(
        ": it waits in vfork(2) for process {}, which has neither begun a program "
        "nor exited",
        proc::describe(child));
  }
  return ": an uninterruptible wait in the kernel";
}

}  // namespace

// Who belongs to us by now; lets go of who does not any more, or never did (new children that are
// outside of the scope).
Result<void> Freezer::find_members() {
  pids_ = TRY(members_());
  const std::set<Pid> wanted(pids_.begin(), pids_.end());
  std::vector<const HeldThread*> dead;
  for (auto& [tid, thread] : threads_) {
    if (!wanted.contains(thread.pid)) release_one(thread, dead);
  }
  (void)see_off(std::move(dead));
  std::erase_if(threads_, [&](const auto& entry) { return !wanted.contains(entry.second.pid); });
  return {};
}

// A child in its parent's memory (vfork): its parent stops only after it has let go of that. Not
// asked of a parent that stands: then the two simply share it.
bool Freezer::must_run_on(Pid pid) const {
  const auto stat = proc::read_stat(pid);
  if (!stat || std::find(pids_.begin(), pids_.end(), stat->parent) == pids_.end()) return false;
  if (!share_memory(stat->parent, pid)) return false;
  bool held = false;
  bool stands = true;
  for (const auto& [tid, thread] : threads_) {
    if (thread.pid != stat->parent) continue;
    held = true;
    stands = stands && thread.phase != Phase::kSeized;
  }
  return !held || !stands;
}

Error Freezer::too_late(const HeldThread& thread) const {
  const auto status = proc::read_status(thread.pid, thread.tid);
  const char state = status.ok() ? status->state : '?';
  const auto late = std::count_if(threads_.begin(), threads_.end(), [](const auto& entry) {
    return entry.second.phase == Phase::kSeized;
  });
  return fail(ETIMEDOUT,
              fmt::format("thread {} of process {} did not stop in time (state {}{}; {} of {} "
                          "threads still ran)",
                          thread.tid, proc::describe(thread.pid), state,
                          state == 'D' ? awaited_child(thread.pid) : "", late, threads_.size()));
}

}  // namespace stasis::trace
