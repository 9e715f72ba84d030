// Freezer's third part: who belongs to the processes that are to be held, from round to round, and
// children that run in their parent's memory (vfork), whose parents cannot stop before they have
// let go of it.
// Essay: docs/design/freezing.md.
#include <fmt/format.h>
#include <linux/kcmp.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
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

bool stands(const HeldThread& thread) {
  constexpr u64 kKill = u64{1} << (SIGKILL - 1);
  const auto status = proc::read_status(thread.pid, thread.tid);
  return status.ok() && status->state == 't' &&
         ((status->pending | status->shared_pending) & kKill) == 0;
}

bool is_as_known(const HeldThread& thread) {
  if (thread.phase == Phase::kStopped) return stands(thread);
  const auto status = proc::read_status(thread.pid, thread.tid);
  return status.ok() && status->state == 'Z';
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

Result<bool> Freezer::complete() {
  std::map<Pid, std::vector<HeldThread*>> held;
  for (auto& [tid, thread] : threads_) {
    if (thread.phase == Phase::kStopped || thread.phase == Phase::kZombie) {
      held[thread.pid].push_back(&thread);
    }
  }
  for (const Pid pid : pids_) {
    const auto status = proc::read_status(pid);
    if (!status || status->threads == 0) return false;
    const bool fits = status->threads == held[pid].size();
    if (note_woken(held[pid], !fits) || !fits) return false;
  }
  return true;
}

// Whether a process that stood does so no more: a kill ends a stop, and the id of a first thread
// that was killed by an execve(2) in another thread is then that one's, which runs. Those are
// awaited anew. One thread tells of all, unless `look_at_all`: what we know of it is wrong.
bool Freezer::note_woken(const std::vector<HeldThread*>& threads, bool look_at_all) {
  const auto first = std::ranges::find(threads, Phase::kStopped, &HeldThread::phase);
  if (!look_at_all && first != threads.end() && stands(**first)) return false;
  for (HeldThread* thread : threads) {
    if (is_as_known(*thread)) continue;
    HeldThread anew;
    anew.pid = thread->pid;
    anew.tid = thread->tid;
    anew.running = true;
    *thread = std::move(anew);
  }
  return true;
}

// Threads of the process that have died: another one may wait in execve(2) until that is noted.
void Freezer::bury_dead(Pid pid) {
  for (auto& [tid, thread] : threads_) {
    if (thread.pid != pid || tid == pid || thread.phase == Phase::kGone) continue;
    const auto end = poll_for(tid, false);
    if (!end || !*end || (*end)->alive()) continue;
    bury(thread);
    thread.phase = Phase::kGone;
  }
}

// No single thread is late, but there was always one more, or one less.
Error Freezer::unsettled() const {
  std::string who;
  for (const Pid pid : pids_) {
    const auto tids = proc::read_threads(pid);
    const bool all_held = tids.ok() && std::ranges::all_of(*tids, [this](Pid tid) {
                            const auto known = threads_.find(tid);
                            return known != threads_.end() && stands(known->second);
                          });
    if (!all_held) who += (who.empty() ? "" : ", ") + proc::describe(pid);
  }
  if (who.empty()) {  // it has just come to that
    return fail(ETIMEDOUT, fmt::format("the time limit passed while {} threads were being stopped",
                                       threads_.size()));
  }
  return fail(ETIMEDOUT, "threads kept appearing or exiting until the time limit in: " + who);
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
