// The rounds of a freeze. All is arranged so that our death at any line leaves the targets as they
// were: SEIZE changes nothing, stops are looked at with WNOWAIT, and the one register that is
// changed (epoll_wait's EINTR) is changed towards what the program expects. Rounds, not SIGSTOP,
// because a group stop would be visible to the target's parent.
// Essay: docs/design/freezing.md.
#include "trace/freezer.h"

#include <fmt/format.h>
#include <sched.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstddef>

#include "arch/call_class.h"
#include "base/sys.h"

namespace stasis::trace {
namespace {

using Phase = HeldThread::Phase;

// SYSGOOD from the start: without it a pending syscall stop would kill the target if we died. What
// the targets create meanwhile is attached at birth. Never EXITKILL.
constexpr u64 kOptions =
    PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK;
constexpr i64 kNsPerMs = 1'000'000;
constexpr i64 kSliceMs = 20;  // between looks whether a silent thread still lives

// The thread is exiting, or was never there.
bool is_gone(const Error& error) {
  return error.code == ESRCH || error.code == ECHILD || error.code == ENOENT;
}

}  // namespace

Freezer::Freezer(Members members, i64 deadline_ns)
    : members_(std::move(members)), deadline_ns_(deadline_ns) {}

Result<void> Freezer::freeze_all() {
  SleepClock clock;
  while (!TRY(round(clock))) {
    if (expired()) return unsettled();
  }
  return {};
}

// True when all members were found standing still: nobody was left to make another one.
Result<bool> Freezer::round(SleepClock& clock) {
  TRY(find_members());
  const std::vector<Pid> found = TRY(seize_new(clock));
  if (found.empty()) {
    if (TRY(complete())) return true;
    (void)::sched_yield();  // something is on its way out
    return false;
  }
  ChildSignal signal;  // from before the first one can stop
  std::vector<HeldThread*> early, late;
  // All at once, then wait: one by one would let spinners starve us.
  for (const Pid tid : found) {
    HeldThread& thread = threads_.at(tid);
    // It may have gone to epoll_wait meanwhile.
    if (thread.running && !thread.adopted) observe(thread, clock);
    (thread.late ? late : early).push_back(&thread);
    if (!thread.late) TRY(interrupt_one(thread));
  }
  TRY(settle(std::move(early), signal));
  // The window in which our death would show as EINTR is open for one thread at a time.
  for (HeldThread* thread : late) {
    TRY(interrupt_one(*thread));
    TRY(spin_for(*thread));
    TRY(settle({thread}, signal));
  }
  return false;
}

// On another processor it stops within some microseconds, sooner than we could be woken up.
Result<void> Freezer::spin_for(HeldThread& thread) {
  constexpr int kLooks = 20;
  for (int i = 0; i < kLooks && thread.phase == Phase::kSeized; ++i) TRY(look_at(thread));
  return {};
}

Result<std::vector<Pid>> Freezer::seize_new(SleepClock& clock) {
  std::vector<Pid> found;
  for (const Pid pid : pids_) {
    const auto tids = proc::read_threads(pid);
    if (!tids && !proc::says_gone(tids.error())) return tids.error();
    if (!tids) continue;  // it has ended: the next round knows
    const bool is_new = !threads_.contains(pid);
    if (is_new && must_run_on(pid)) continue;
    for (const Pid tid : *tids) {
      const auto known = threads_.find(tid);
      if (known == threads_.end() || known->second.phase == Phase::kGone) {
        TRY(seize_one(pid, tid, clock, found));
      } else if (known->second.phase == Phase::kSeized) {
        found.push_back(tid);  // adopted at birth
      }
    }
  }
  return found;
}

Result<void> Freezer::seize_one(Pid pid, Pid tid, SleepClock& clock, std::vector<Pid>& found) {
  HeldThread thread;
  thread.pid = pid;
  thread.tid = tid;
  observe(thread, clock);
  auto seized = watch_.seize(tid, kOptions, deadline_ns_);
  if (!seized) {
    const auto status = proc::read_status(pid, tid);
    if (!status || status->state == 'X') return {};  // gone; the next round looks again
    if (status->state == 'Z') {
      if (tid != pid || status->threads <= 1) return {};
      thread.phase = Phase::kZombie;
      threads_[tid] = thread;
      return {};
    }
    if (status->tracer != ::gettid()) return cannot_seize(pid, tid, seized.error());
    thread.adopted = true;
  }
  threads_[tid] = thread;
  found.push_back(tid);
  return {};
}

// EPERM also for a moment while a thread exits, or execve(2) gives the process new memory.
Result<void> Freezer::cannot_seize(Pid pid, Pid tid, const Error& error) {
  constexpr int kTries = 1000;
  const auto status = proc::read_status(pid, tid);
  const bool traced = status.ok() && status->tracer != 0;
  if (!traced && ++denied_[tid] < kTries && !expired()) return {};
  return Result<void>(error).context(fmt::format("cannot freeze process {}", proc::describe(pid)));
}

// What has to be known from before the disturbance.
void Freezer::observe(HeldThread& thread, SleepClock& clock) {
  const auto call = proc::read_syscall(thread.pid, thread.tid);
  thread.running = call.ok() && call->running;
  if (!call || call->running || call->number < 0) return;
  thread.late = arch::returns_eintr(call->number);
  if (arch::is_restart_call(call->number)) {
    const auto path = fmt::format("/proc/{}/task/{}/wchan", thread.pid, thread.tid);
    if (auto channel = sys::read_file(path); channel.ok()) thread.channel = std::move(*channel);
  }
  std::array<u64, 6> args = {};
  std::copy(std::begin(call->args), std::end(call->args), args.begin());
  if (wants_sample(call->number, args)) thread.sleep = clock.sample(thread.pid, thread.tid);
}

Result<void> Freezer::interrupt_one(HeldThread& thread) {
  if (thread.adopted) return {};  // stops by itself
  if (first_interrupt_ns_ == 0) first_interrupt_ns_ = monotonic_ns();
  auto done = interrupt(thread.tid);
  if (!done && !is_gone(done.error())) return done;
  return {};  // settle() finds out what became of it
}

// Until all of them stand at a get_signal stop or are gone, each looked at as soon as it has
// stopped: one that was on its way into epoll_wait has EINTR in its register until we have seen it.
// SIGCHLD names one that has stopped, and hides others that did so at the same time, hence all are
// looked at too, as often as that is cheap beside the waiting.
Result<void> Freezer::settle(std::vector<HeldThread*> waiting, ChildSignal& signal) {
  constexpr i64 kNsALook = 2000;
  i64 next_round_ns = 0;
  i64 next_silent_ns = monotonic_ns() + kSliceMs * kNsPerMs;
  while (true) {
    const i64 now_ns = monotonic_ns();
    if (now_ns >= next_round_ns) {
      for (HeldThread* thread : waiting) TRY(look_at(*thread));
      next_round_ns = monotonic_ns() + static_cast<i64>(waiting.size()) * kNsALook;
    }
    std::erase_if(waiting, [](const auto* thread) { return thread->phase != Phase::kSeized; });
    if (waiting.empty()) return {};
    if (now_ns >= next_silent_ns) {
      for (HeldThread* thread : waiting) TRY(look_for_silent(*thread));
      next_silent_ns = now_ns + kSliceMs * kNsPerMs;
      if (expired()) return too_late(*waiting.front());
    }
    const auto told = std::ranges::find(waiting, signal.sleep(), &HeldThread::tid);
    if (told != waiting.end()) TRY(look_at(**told));
  }
}

// Whether it has stopped by now.
Result<void> Freezer::look_at(HeldThread& thread) {
  const auto stop = poll_for(thread.tid, false);
  if (stop.ok() && *stop) {
    TRY(take_stop(thread, **stop));
  } else if (!stop && is_gone(stop.error())) {
    thread.phase = Phase::kGone;
  } else if (!stop) {
    return stop.error();
  }
  return {};
}

// Those from which no stop will ever come.
Result<void> Freezer::look_for_silent(HeldThread& thread) {
  bury_dead(thread.pid);
  // A leader that exits before its threads says nothing until they are gone.
  const auto status = proc::read_status(thread.pid, thread.tid);
  if (status.ok() && status->state == 'Z' && thread.tid == thread.pid && status->threads > 1) {
    thread.phase = Phase::kZombie;
  }
  return {};
}

// What is not at its stop yet is sent on towards it.
Result<void> Freezer::take_stop(HeldThread& thread, const Stop& stop) {
  if (!stop.alive()) {
    bury(thread);
    thread.phase = Phase::kGone;
    return {};
  }
  if (stop.event() == PTRACE_EVENT_STOP) {
    auto finished = finish_stop(thread, stop);
    if (!finished && is_gone(finished.error())) return {};  // killed under our hands
    return finished;
  }
  if (stop.event() != 0) TRY(take_birth(thread, stop.event()));
  // Any stop swallows an interruption that was under way (ptrace_stop() clears JOBCTL_TRAP_STOP),
  // hence again. A signal goes on its way to the program; its handler is entered but not run. If
  // the thread is gone the next wait says so.
  (void)interrupt(thread.tid);
  (void)resume(thread.tid, stop.event() != 0 ? 0 : stop.signal());
  return {};
}

Result<void> Freezer::finish_stop(HeldThread& thread, const Stop& stop) {
  thread.registers = TRY(get_registers(thread.tid));
  if (arch::is_spurious_eintr(thread.registers)) {
    TRY(poke_user(thread.tid, arch::kResultOffset, static_cast<u64>(arch::kRestartNoHand)));
    arch::set_result(thread.registers, arch::kRestartNoHand);
  }
  thread.stopped_ns = monotonic_ns();
  thread.stop_signal = stop.signal();
  thread.phase = Phase::kStopped;
  return {};
}

// A thread of ours has made another, or a process. Either is attached to us and about to stop; the
// next round tells whether a process belongs to us.
Result<void> Freezer::take_birth(const HeldThread& parent, int event) {
  const auto message = event_message(parent.tid);
  if (!message) return {};  // the parent has died meanwhile
  const Pid child = static_cast<Pid>(*message);
  const auto status = proc::read_status(child);
  if (!status) return {};
  // Its parent waits for it without a chance to stop.
  if (event == PTRACE_EVENT_VFORK) return let_newborn_go(child);
  if (!threads_.contains(child)) {
    HeldThread& thread = threads_[child];
    thread.pid = status->tgid;
    thread.tid = child;
    thread.adopted = true;
  }
  return {};
}

}  // namespace stasis::trace
