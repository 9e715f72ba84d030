// Freeze: what the rest of the engine sees of freezing. The rounds are Freezer's, what is done with
// the stopped threads is settle.cc's; here are the refusals before, the second try when a dead
// predecessor's frame is met, and the owner that thaws.
#include "trace/freeze.h"

#include <fmt/format.h>
#include <time.h>

#include <algorithm>
#include <cerrno>

#include "trace/freezer.h"
#include "trace/settle.h"
#include "trace/slice.h"

namespace stasis::trace {
namespace {

using Phase = HeldThread::Phase;
constexpr i64 kNsPerMs = 1'000'000;
constexpr i64 kDefaultLimitMs = 10'000;
constexpr i64 kLongestPauseMs = 128;

void sleep_ms(i64 pause_ms) {
  const timespec pause = {.tv_sec = 0, .tv_nsec = pause_ms * kNsPerMs};
  (void)::nanosleep(&pause, nullptr);  // waking early is harmless
}

Result<void> refuse_early(Pid pid) {
  if (auto obstacle = tracing_obstacle(pid)) return *std::move(obstacle);
  if (auto obstacle = call_obstacle(pid, pid)) return *std::move(obstacle);
  return {};
}

// These and no others, all alive.
Result<std::vector<Pid>> all_alive(const std::vector<Pid>& pids) {
  for (const Pid pid : pids) {
    const auto status = proc::read_status(pid);
    if (!status && !proc::says_gone(status.error())) return status.error();
    const bool ended =
        !status || status->state == 'X' || (status->state == 'Z' && status->threads <= 1);
    if (ended) return fail(ESRCH, fmt::format("process {} has exited", proc::describe(pid)));
  }
  return pids;
}

}  // namespace

class Freeze::State {
 public:
  State(Members members, i64 deadline_ns) : freezer_(std::move(members), deadline_ns) {}

  Result<void> describe();
  Result<bool> has_leftover();
  Result<void> thaw() {
    if (thawed_ns_ == 0) thawed_ns_ = monotonic_ns();
    return freezer_.release();
  }
  Freezer& freezer() { return freezer_; }
  std::vector<FrozenProcess>& processes() { return processes_; }
  [[nodiscard]] i64 pause_us() const {
    const i64 end = thawed_ns_ != 0 ? thawed_ns_ : monotonic_ns();
    const i64 start = freezer_.first_interrupt_ns();
    return start == 0 ? 0 : (end - start) / 1000;
  }

 private:
  Result<void> open();

  Freezer freezer_;
  std::vector<FrozenProcess> processes_;
  i64 thawed_ns_ = 0;
};

// One FrozenProcess a pid, with memory, without threads yet.
Result<void> Freeze::State::open() {
  for (const Pid pid : freezer_.pids()) {
    FrozenProcess process;
    process.pid = pid;
    for (const auto& [tid, thread] : freezer_.threads()) {
      // The memory of a leader that has exited is reached through any other thread.
      if (thread.pid != pid || thread.phase != Phase::kStopped) continue;
      if (process.memory.pid() == 0) process.memory = TRY(RemoteMemory::open(tid));
      if (thread.stop_signal == SIGTRAP) continue;
      process.stopped = true;
      process.stop_signal = thread.stop_signal;
    }
    if (process.memory.pid() == 0) return fail(ESRCH, fmt::format("process {} has exited", pid));
    processes_.push_back(std::move(process));
  }
  return {};
}

Result<bool> Freeze::State::has_leftover() {
  for (const auto& [tid, thread] : freezer_.threads()) {
    if (thread.phase != Phase::kStopped) continue;
    const auto process =
        std::find_if(processes_.begin(), processes_.end(),
                     [pid = thread.pid](const auto& entry) { return entry.pid == pid; });
    if (process != processes_.end() && is_leftover(thread, process->memory)) return true;
  }
  return false;
}

Result<void> Freeze::State::describe() {
  TRY(open());
  if (TRY(has_leftover())) return fail(EAGAIN, "a killed checkpoint is still being undone");
  for (FrozenProcess& process : processes_) {
    for (auto& [tid, thread] : freezer_.threads()) {
      if (thread.pid != process.pid || thread.phase == Phase::kGone) continue;
      if (thread.phase == Phase::kStopped) TRY(abort_rseq(thread, process.memory));
      process.threads.push_back(TRY(trace::describe(thread, process.memory)));
    }
    std::stable_partition(process.threads.begin(), process.threads.end(),
                          [&](const FrozenThread& thread) { return thread.tid == process.pid; });
  }
  return {};
}

Result<Freeze> Freeze::take(std::span<const Pid> pids, i64 timeout_ms) {
  return take([list = std::vector<Pid>(pids.begin(), pids.end())] { return all_alive(list); },
              timeout_ms);
}

Result<Freeze> Freeze::take(const Members& members, i64 timeout_ms) {
  const std::vector<Pid> early = TRY(members());
  for (const Pid pid : early) {
    auto allowed = refuse_early(pid);
    if (!allowed && allowed.error().code != ESRCH) return std::move(allowed).take_error();
  }
  const ShortSlice slice;
  const i64 deadline_ns =
      monotonic_ns() + (timeout_ms < 0 ? kDefaultLimitMs : timeout_ms) * kNsPerMs;
  // What has to run first may wait long for a processor: each time it gets longer.
  for (i64 pause_ms = 1;; pause_ms = std::min(2 * pause_ms, kLongestPauseMs)) {
    auto state = std::make_unique<State>(members, deadline_ns);
    TRY(state->freezer().freeze_all());  // on error the destructor lets go
    const auto described = state->describe();
    if (described.ok()) return Freeze(std::move(state));
    const int code = described.error().code;
    const bool again = code == EAGAIN || code == ESRCH || code == ENOENT;  // killed at this moment
    if (!again || monotonic_ns() >= deadline_ns) return described.error();
    state.reset();
    (void)TRY(members());
    sleep_ms(pause_ms);
  }
}

Freeze::Freeze(std::unique_ptr<State> state) : state_(std::move(state)) {}
Freeze::Freeze(Freeze&&) noexcept = default;
Freeze& Freeze::operator=(Freeze&&) noexcept = default;
Freeze::~Freeze() {
  if (state_) (void)state_->thaw();  // thaw() is there for who wants to know
}

std::vector<FrozenProcess>& Freeze::processes() {
  return state_->processes();
}
Result<void> Freeze::thaw() {
  return state_->thaw();
}
i64 Freeze::pause_us() const {
  return state_->pause_us();
}

Pid FrozenProcess::any_live_tid() const {
  return memory.pid();
}

}  // namespace stasis::trace
