// Insured calls: frame first, then registers, then the mask; calls driven from entry stop to exit
// stop; at the end back to a get_signal stop, because only there do raw registers (rax = -512, ...)
// mean to the kernel what they meant before. At no line is anything executed that would trap, so
// that our death costs the target at most a few instructions.
// Essay: docs/design/insured-calls.md.
#include "trace/remote_call.h"

#include <fmt/format.h>
#include <sys/ptrace.h>

#include <algorithm>
#include <cerrno>
#include <csignal>

#include "arch/call_class.h"
#include "arch/signal_frame.h"
#include "trace/call_site.h"
#include "trace/ptrace.h"

namespace stasis::trace {
namespace {

constexpr int kCallStop = SIGTRAP | 0x80;  // TRACESYSGOOD
constexpr i64 kStopLimitMs = 10'000;       // queries do not sleep
constexpr int kMostRetries = 100;
// The kernel leaves SIGKILL and SIGSTOP out by itself.
constexpr u64 kAllSignals = ~u64{0};

}  // namespace

class RemoteCalls::State {
 public:
  State(FrozenProcess& process, FrozenThread& thread)
      : memory_(process.memory), process_(process), thread_(thread) {}
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() {
    if (site_ && borrowed_) site_->set_borrowed(false);
  }

  Result<void> begin();
  Result<i64> call(i64 number, const std::array<u64, 6>& args);
  Result<void> finish();
  [[nodiscard]] RemoteAddr scratch() const { return frame_.scratch; }

 private:
  Result<void> prepare();
  Result<void> park();
  Result<i64> call_once(i64 number, const std::array<u64, 6>& args);
  Result<void> to_call_stop();
  Result<void> to_signal_stop();
  Result<Stop> next_stop();
  Error lost();

  const RemoteMemory& memory_;
  FrozenProcess& process_;
  FrozenThread& thread_;
  std::shared_ptr<CallSite> site_;
  bool borrowed_ = false;
  arch::SignalFrame frame_;
  Bytes old_bytes_;     // what lay where the frame lies
  bool begun_ = false;  // the thread is not as Freeze left it
  bool at_signal_stop_ = true;
  bool lost_ = false;
};

Result<void> RemoteCalls::State::begin() {
  if (thread_.zombie) {
    return fail(EOPNOTSUPP, fmt::format("thread {} has exited", thread_.tid));
  }
  if (auto obstacle = call_obstacle(process_.pid, thread_.tid)) return *std::move(obstacle);
  if (TRY(has_user_dispatch(thread_.tid))) {
    return fail(
        EOPNOTSUPP,
        fmt::format("thread {} uses syscall user dispatch: its system calls go to a handler "
                    "of its own",
                    thread_.tid));
  }
  site_ = TRY(CallSite::of(process_));
  TRY(prepare());
  // From the first of these lines on, our death means rt_sigreturn and the state of before.
  begun_ = true;
  TRY(memory_.write(frame_.start, frame_.bytes));
  TRY(park());
  return set_signal_mask(thread_.tid, kAllSignals);
}

// Decides where the frame lies and builds it; changes nothing yet.
Result<void> RemoteCalls::State::prepare() {
  const ExtendedState extended = TRY(get_extended_state(thread_.tid));
  const u64 length = arch::frame_room(extended.bytes, extended.legacy, kScratchSize);
  const CallSite::Room room = TRY(site_->room_for(process_, thread_, length));
  if (room.borrowed) {
    site_->set_borrowed(true);
    borrowed_ = true;
  }
  const arch::FrameContent content = {
      .registers = arch::resolve_interruption(thread_.registers, thread_.interrupted_call),
      .blocked_signals = thread_.blocked_signals,
      .extended = extended.bytes,
      .legacy = extended.legacy,
      .gadgets = site_->gadgets(),
      .tid = thread_.tid};
  frame_ = arch::build_signal_frame(content, room.lowest, kScratchSize);
  old_bytes_.resize(frame_.bytes.size());
  return memory_.read(frame_.start, old_bytes_);
}

// Where running on means rt_sigreturn.
Result<void> RemoteCalls::State::park() {
  arch::Registers parked = thread_.registers;
  arch::set_call(parked, frame_.park_instruction, 0, {});
  arch::set_stack_pointer(parked, frame_.park_stack);
  return set_registers(thread_.tid, parked);
}

Error RemoteCalls::State::lost() {
  lost_ = true;
  return fail(ESRCH, fmt::format("thread {} of process {} has died", thread_.tid, process_.pid));
}

Result<Stop> RemoteCalls::State::next_stop() {
  const auto stop = wait_for(thread_.tid, false, kStopLimitMs);
  if (!stop.ok()) {
    if (stop.error().code == ECHILD || stop.error().code == ESRCH) return lost();
    return stop.error();
  }
  if (!stop->alive()) return lost();
  return *stop;
}

// Runs on to the next entry to or exit from a system call.
Result<void> RemoteCalls::State::to_call_stop() {
  int signal = 0;
  while (true) {
    if (!resume_to_call(thread_.tid, signal).ok()) return lost();
    at_signal_stop_ = false;
    const Stop stop = TRY(next_stop());
    if (stop.event() == 0 && stop.signal() == kCallStop) return {};
    // A group stop, or the end of one: on with it, it is made good at the end. SIGSTOP cannot be
    // blocked and arrives as a signal first.
    signal = stop.event() == 0 ? stop.signal() : 0;
  }
}

// Runs on to a get_signal stop, without an instruction of the program.
Result<void> RemoteCalls::State::to_signal_stop() {
  int signal = 0;
  while (true) {
    // Every other stop swallows the interruption, hence each time.
    if (!interrupt(thread_.tid).ok()) return lost();
    if (!resume(thread_.tid, signal).ok()) return lost();
    const Stop stop = TRY(next_stop());
    if (stop.event() == PTRACE_EVENT_STOP) break;
    signal = stop.event() == 0 && stop.signal() != kCallStop ? stop.signal() : 0;
  }
  at_signal_stop_ = true;
  return {};
}

Result<i64> RemoteCalls::State::call_once(i64 number, const std::array<u64, 6>& args) {
  arch::Registers registers = thread_.registers;
  arch::set_call(registers, site_->gadgets().call, number, args);
  arch::set_stack_pointer(registers, frame_.call_stack);
  if (!set_registers(thread_.tid, registers).ok()) return lost();
  TRY(to_call_stop());  // entry
  TRY(to_call_stop());  // exit
  const auto result = peek_user(thread_.tid, arch::kResultOffset);
  if (!result.ok()) return lost();
  return static_cast<i64>(*result);
}

Result<i64> RemoteCalls::State::call(i64 number, const std::array<u64, 6>& args) {
  if (lost_) return lost();
  for (int round = 0; round < kMostRetries; ++round) {
    const i64 result = TRY(call_once(number, args));
    // Interrupted by a stop: the kernel would restart it, we do.
    if (result > arch::kRestartSys || result < arch::kRestartBlock) return result;
  }
  return fail(EINTR,
              fmt::format("call {} in thread {} was interrupted too often", number, thread_.tid));
}

Result<void> RemoteCalls::State::finish() {
  if (!begun_) return {};
  begun_ = false;
  if (lost_) return lost();
  if (!at_signal_stop_) {
    TRY(park());
    TRY(to_signal_stop());
  }
  TRY(set_signal_mask(thread_.tid, thread_.blocked_signals));
  TRY(set_registers(thread_.tid, thread_.registers));
  // Below the red zone nothing is the program's any more; for whoever looks all the same.
  return memory_.write(frame_.start, old_bytes_);
}

RemoteCalls::RemoteCalls(std::unique_ptr<State> state) : state_(std::move(state)) {}
RemoteCalls::RemoteCalls(RemoteCalls&&) noexcept = default;
RemoteCalls::~RemoteCalls() {
  if (state_) (void)state_->finish();  // finish() is there for who wants to know
}

Result<RemoteCalls> RemoteCalls::begin(FrozenProcess& process, FrozenThread& thread) {
  auto state = std::make_unique<State>(process, thread);
  const std::string context =
      fmt::format("cannot ask thread {} of process {}", thread.tid, process.pid);
  auto begun = state->begin();
  if (!begun.ok()) {
    (void)state->finish();  // the first error is the one that tells
    return std::move(begun).context(context).take_error();
  }
  return RemoteCalls(std::move(state));
}

Result<i64> RemoteCalls::call(i64 number, std::initializer_list<u64> args) {
  std::array<u64, 6> all = {};
  std::copy_n(args.begin(), std::min(args.size(), all.size()), all.begin());
  return state_->call(number, all);
}

RemoteAddr RemoteCalls::scratch() const {
  return state_->scratch();
}

Result<void> RemoteCalls::finish() {
  return state_->finish();
}

}  // namespace stasis::trace
