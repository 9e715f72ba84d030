// Freezer's other half: letting go. What is stopped is detached, which puts back group stops by
// itself; what is on its way to a stop is awaited shortly; what has died is seen to its end,
// because its parent does not hear of it before.
#include <fmt/format.h>
#include <sys/ptrace.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <set>

#include "trace/freezer.h"

namespace stasis::trace {
namespace {

using Phase = HeldThread::Phase;
constexpr i64 kSliceMs = 20;  // for a thread that should stop at once
constexpr i64 kDeathLimitMs = 1000;

// Whether the end of a first thread is for somebody who waits in this very process.
bool is_our_child(const HeldThread& thread) {
  const auto status = proc::read_status(thread.pid);
  return status.ok() && status->parent == ::getpid() && thread.tid == thread.pid;
}

}  // namespace

// A new process that is none of ours, or must not stop yet.
Result<void> Freezer::let_newborn_go(Pid child) {
  while (true) {
    const auto stop = wait_for(child, false, kSliceMs);
    if (stop.ok() && !stop->alive()) return {};
    if (stop.ok()) {
      const bool event = stop->event() != 0;
      if (detach(child, event ? 0 : stop->signal()).ok()) return {};
    } else if (stop.error().code != ETIMEDOUT) {
      return {};  // gone
    }
    if (expired()) return fail(ETIMEDOUT, fmt::format("new process {} did not stop", child));
  }
}

// Only a stopped thread can be let go; one that does not stop is let go by the kernel at our end.
void Freezer::release_running(HeldThread& thread) {
  if (!thread.adopted) (void)interrupt(thread.tid);
  const auto stop = wait_for(thread.tid, false, kSliceMs);
  const bool alive = stop.ok() && stop->alive();
  const bool signal = alive && stop->event() == 0;
  if (alive && !signal && stop->event() != PTRACE_EVENT_STOP) {
    const auto child = event_message(thread.tid);
    if (child.ok() && !threads_.contains(static_cast<Pid>(*child)))
      (void)let_newborn_go(static_cast<Pid>(*child));
  }
  // Its call must not fail because of this stop either. If it has died nothing is lost.
  if (alive && stop->event() == PTRACE_EVENT_STOP) (void)finish_stop(thread, *stop);
  (void)detach(thread.tid, signal ? stop->signal() : 0);
}

// One that has ended while it was ours: only when its tracer has taken note does its parent hear of
// it. (A first thread whose threads go on is no end yet: nothing is there to be waited for.)
void Freezer::bury(const HeldThread& thread) {
  if (!is_our_child(thread)) (void)poll_for(thread.tid, true);
}

// Awaits the end of killed threads; their names.
std::string Freezer::see_off(std::vector<const HeldThread*> dead) {
  std::sort(dead.begin(), dead.end(), [](const auto* a, const auto* b) {
    return (a->tid == a->pid) < (b->tid == b->pid);  // leaders last: they wait for their threads
  });
  std::string names;
  for (const HeldThread* thread : dead) {
    if (!is_our_child(*thread)) (void)wait_for(thread->tid, true, kDeathLimitMs);
    names += fmt::format("{}{}", names.empty() ? "" : ", ", thread->tid);
  }
  return names;
}

bool Freezer::release_one(HeldThread& thread, std::vector<const HeldThread*>& dead) {
  switch (thread.phase) {
    case Phase::kZombie:
    case Phase::kGone:
      return false;
    case Phase::kSeized:
      if (thread.adopted) {
        (void)let_newborn_go(thread.tid);  // late: the kernel lets it go at our end
      } else {
        release_running(thread);
      }
      return true;
    case Phase::kStopped:
      if (detach(thread.tid).ok()) return true;
      dead.push_back(&thread);
  }
  return false;
}

// A thread that runs on may end its whole process at once: threads that are dead by then did not
// die while they were frozen.
Result<void> Freezer::release() {
  std::vector<const HeldThread*> dead;
  std::set<Pid> going_on;
  for (auto& [tid, thread] : threads_) {
    if (release_one(thread, dead)) going_on.insert(thread.pid);
  }
  std::vector<const HeldThread*> of_their_own;
  std::ranges::copy_if(dead, std::back_inserter(of_their_own),
                       [&](const auto* thread) { return going_on.contains(thread->pid); });
  std::erase_if(dead, [&](const auto* thread) { return going_on.contains(thread->pid); });
  (void)see_off(std::move(of_their_own));
  const std::string names = see_off(std::move(dead));
  threads_.clear();
  if (!names.empty()) return fail(ESRCH, fmt::format("died while frozen: thread {}", names));
  return {};
}

}  // namespace stasis::trace
