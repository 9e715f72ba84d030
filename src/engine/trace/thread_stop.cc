// SEIZE and INTERRUPT as in a freeze; if we die the kernel lets it run on.
#include "trace/thread_stop.h"

#include <fmt/format.h>
#include <sys/ptrace.h>

#include <cerrno>
#include <csignal>
#include <map>
#include <utility>

#include "trace/freeze.h"
#include "trace/freezer.h"
#include "trace/ptrace.h"
#include "trace/seize_watch.h"
#include "trace/time_left.h"

namespace stasis::trace {
namespace {

constexpr i64 kNsPerMs = 1'000'000;
constexpr i64 kSliceMs = 20;

}  // namespace

Result<ThreadStop> ThreadStop::take(Pid pid, Pid tid, i64 timeout_ms) {
  if (auto obstacle = tracing_obstacle(pid)) return *std::move(obstacle);
  const i64 deadline_ns = monotonic_ns() + timeout_ms * kNsPerMs;
  const std::map<Pid, HeldThread> nobody_else;
  TRY(SeizeWatch(nobody_else).seize(tid, PTRACE_O_TRACESYSGOOD, deadline_ns));
  ThreadStop stop(tid);
  TRY(stop.stop(deadline_ns));
  return stop;
}

Result<void> ThreadStop::stop(i64 deadline_ns) {
  TRY(interrupt(tid_));
  while (true) {
    const auto stop = wait_for(tid_, false, kSliceMs);
    const bool late = monotonic_ns() >= deadline_ns;
    if (!stop && (stop.error().code != ETIMEDOUT || late)) return stop.error();
    if (!stop) continue;
    if (!stop->alive()) {
      (void)poll_for(tid_, true);  // its process may wait until its tracer has taken note
      tid_ = 0;
      return fail(ESRCH, "the thread has exited");
    }
    if (stop->event() == PTRACE_EVENT_STOP) {
      in_group_stop_ = stop->signal() != SIGTRAP;
      return {};
    }
    if (stop->event() == 0) signal_ = stop->signal();
    if (late) return fail(ETIMEDOUT, fmt::format("thread {} did not stop in time", tid_));
    // The stop has swallowed the interruption, hence again; a signal goes on its way.
    (void)interrupt(tid_);
    (void)resume(tid_, std::exchange(signal_, 0));
  }
}

ThreadStop::ThreadStop(ThreadStop&& other) noexcept
    : tid_(std::exchange(other.tid_, 0)),
      signal_(other.signal_),
      in_group_stop_(other.in_group_stop_) {}

// One that is not at a stop is let go by the kernel at our end; one that was killed is seen off.
ThreadStop::~ThreadStop() {
  if (tid_ != 0 && !detach(tid_, signal_).ok()) (void)poll_for(tid_, true);
}

}  // namespace stasis::trace
