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

Result<void> refuse_early(std::span<const Pid> pids) {
  for (const Pid pid : pids) {
    if (auto obstacle = tracing_obstacle(pid)) return *std::move(obstacle);
    if (auto obstacle = call_obstacle(pid, pid)) return *std::move(obstacle);
  }
  return {};
}

void sleep_a_moment() {
  const timespec pause = {.tv_sec = 0, .tv_nsec = kNsPerMs};
  (void)::nanosleep(&pause, nullptr);  // waking early is harmless
}

}  // namespace

class Freeze::State {
 public:
  State(std::vector<Pid> pids, i64 deadline_ns) : freezer_(std::move(pids), deadline_ns) {}

  Result<void> describe(std::span<const Pid> pids);
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
  Result<void> open(std::span<const Pid> pids);

  Freezer freezer_;
  std::vector<FrozenProcess> processes_;
  i64 thawed_ns_ = 0;
};

// One FrozenProcess a pid, with memory, without threads yet.
Result<void> Freeze::State::open(std::span<const Pid> pids) {
  for (const Pid pid : pids) {
    FrozenProcess process;
    process.pid = pid;
    for (const auto& [tid, thread] : freezer_.threads()) {
      // The memory of a leader that has exited is reached through any other thread.
      if (thread.pid != pid || thread.phase != Phase::kStopped) continue;
      if (process.memory.pid() == 0) process.memory = TRY(RemoteMemory::open(tid));
      process.stopped |= thread.stop_signal != SIGTRAP;
    }
    if (process.memory.pid() == 0) return fail(ESRCH, fmt::format("process {} has exited", pid));
    processes_.push_back(std::move(process));
  }
  return {};
}

Result<bool> Freeze::State::has_leftover() {
  std::vector<Pid> pids;
  for (const auto& [tid, thread] : freezer_.threads()) {
    if (thread.phase != Phase::kStopped) continue;
    const auto process = std::find_if(processes_.begin(), processes_.end(),
                                      [&](const auto& entry) { return entry.pid == thread.pid; });
    if (process != processes_.end() && is_leftover(thread, process->memory)) return true;
  }
  return false;
}

Result<void> Freeze::State::describe(std::span<const Pid> pids) {
  TRY(open(pids));
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
  TRY(refuse_early(pids));
  const ShortSlice slice;
  const i64 deadline_ns =
      monotonic_ns() + (timeout_ms < 0 ? kDefaultLimitMs : timeout_ms) * kNsPerMs;
  while (true) {
    auto state = std::make_unique<State>(std::vector<Pid>(pids.begin(), pids.end()), deadline_ns);
    TRY(state->freezer().freeze_all());  // on error the destructor lets go
    const auto described = state->describe(pids);
    if (described.ok()) return Freeze(std::move(state));
    if (described.error().code != EAGAIN || monotonic_ns() >= deadline_ns) return described.error();
    state.reset();
    sleep_a_moment();
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
