// Freezer's other half: letting go. What is stopped is detached, which puts back group stops by
// itself; what is on its way to a stop is awaited shortly; what has died is seen to its end,
// because its parent does not hear of it before.
#include <fmt/format.h>
#include <sys/ptrace.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "trace/freezer.h"

namespace stasis::trace {
namespace {

using Phase = HeldThread::Phase;
constexpr i64 kSliceMs = 20;  // for a thread that should stop at once
constexpr i64 kDeathLimitMs = 1000;

}  // namespace

// A new process is outside of the scope that was asked for.
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

// Awaits the end of killed threads; their names.
std::string Freezer::see_off(std::vector<const HeldThread*> dead) {
  std::sort(dead.begin(), dead.end(), [](const auto* a, const auto* b) {
    return (a->tid == a->pid) < (b->tid == b->pid);  // leaders last: they wait for their threads
  });
  std::string names;
  for (const HeldThread* thread : dead) {
    // Where we are the parent, its end is left for whoever waits in this process.
    const auto status = proc::read_status(thread->pid);
    const bool ours = status.ok() && status->parent == ::getpid() && thread->tid == thread->pid;
    if (!ours) (void)wait_for(thread->tid, true, kDeathLimitMs);
    names += fmt::format("{}{}", names.empty() ? "" : ", ", thread->tid);
  }
  return names;
}

Result<void> Freezer::release() {
  std::vector<const HeldThread*> dead;
  for (auto& [tid, thread] : threads_) {
    if (thread.phase == Phase::kZombie || thread.phase == Phase::kGone) continue;
    if (thread.phase == Phase::kSeized) {
      release_running(thread);
      continue;
    }
    const auto done = detach(tid);
    if (!done) dead.push_back(&thread);
  }
  const std::string names = see_off(std::move(dead));
  threads_.clear();
  if (!names.empty()) return fail(ESRCH, fmt::format("died while frozen: thread {}", names));
  return {};
}

}  // namespace stasis::trace
