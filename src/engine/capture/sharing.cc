// kcmp(2) puts processes into an order for each thing that can be shared; those that share it are
// neighbours then, so that the cost stays near-linear.
#include "capture/sharing.h"

#include <fmt/format.h>
#include <linux/kcmp.h>
#include <sys/syscall.h>
#include <time.h>

#include <algorithm>

#include "base/sys.h"
#include "proc/status.h"

namespace stasis::capture {
namespace {

struct Kind {
  int type;
  std::string_view what;
};
constexpr Kind kMemory = {KCMP_VM, "its memory (vfork(2), or clone(2) with CLONE_VM)"};
constexpr Kind kFiles = {KCMP_FILES, "its descriptor table (clone(2) with CLONE_FILES)"};
constexpr Kind kDirectory = {KCMP_FS, "its working directory and umask (clone(2) with CLONE_FS)"};

// 0 equal, 1 less, 2 greater; -1: one of them is gone.
long compare(Pid a, Pid b, int type) {
  const auto order = sys::raw("compare", "processes", SYS_kcmp, a, b, type, 0UL, 0UL);
  return order.ok() ? *order : -1;
}

// Those that are about to exit have given everything back: what they have not, they all "share".
bool is_ending(Pid thread) {
  constexpr u32 kExiting = 0x4;  // PF_EXITING
  const auto stat = proc::read_stat(thread);
  return !stat || (stat->flags & kExiting) != 0;
}

bool in_uninterruptible_wait(Pid pid) {
  const auto tids = proc::read_threads(pid);
  return tids.ok() && std::ranges::any_of(*tids, [pid](Pid tid) {
           const auto stat = proc::read_stat(pid, tid);
           return stat.ok() && stat->state == 'D';
         });
}

// Whether two share memory and neither waits in vfork(2) for the other to let go of it. A moment
// after the child was made its parent does not wait yet.
bool lasts(Pid a, Pid b) {
  constexpr int kLooks = 10;
  constexpr timespec kPause = {.tv_sec = 0, .tv_nsec = 1'000'000};
  for (int i = 0; i < kLooks; ++i) {
    if (compare(a, b, KCMP_VM) != 0 || is_ending(a) || is_ending(b)) return false;
    if (in_uninterruptible_wait(a) || in_uninterruptible_wait(b)) return false;
    (void)::nanosleep(&kPause, nullptr);  // waking early is harmless
  }
  return true;
}

void add_sharers(std::span<const Pid> pids, const Kind& kind, bool frozen,
                 std::vector<Refusal>& refusals) {
  struct Entry {
    Pid pid, thread;  // the thread through which the kernel tells of the process
  };
  std::vector<Entry> sorted;
  for (const Pid pid : pids) sorted.push_back({pid, proc::live_thread(pid)});
  std::ranges::stable_sort(sorted, [&](const Entry& a, const Entry& b) {
    return compare(a.thread, b.thread, kind.type) == 1;
  });
  for (size_t i = 1; i < sorted.size(); ++i) {
    if (compare(sorted[i - 1].thread, sorted[i].thread, kind.type) != 0) continue;
    if (is_ending(sorted[i - 1].thread) || is_ending(sorted[i].thread)) continue;
    if (kind.type == KCMP_VM && !frozen && !lasts(sorted[i - 1].thread, sorted[i].thread)) continue;
    refusals.push_back({.subject = "process " + proc::describe(sorted[i].pid),
                        .reason = fmt::format("it shares {} with process {}", kind.what,
                                              proc::describe(sorted[i - 1].pid)),
                        .advice = {}});
  }
}

}  // namespace

std::vector<Refusal> sharing_refusals(std::span<const Pid> pids, bool frozen) {
  std::vector<Refusal> refusals;
  for (const Kind& kind : {kMemory, kFiles, kDirectory}) {
    add_sharers(pids, kind, frozen, refusals);
  }
  return refusals;
}

}  // namespace stasis::capture
