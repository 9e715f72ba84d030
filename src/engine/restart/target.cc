// Running scripts in a process that is being built: copy, set the instruction pointer, wait for the
// trap, read back. What the scripts do is decided by the passes.
#include "restart/target.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

#include "base/log.h"
#include "base/sys.h"

namespace stasis::restart {
namespace {

constexpr u64 kSlot = kPageSize;       // of a thread: script at its start, stack at its end
constexpr u64 kSlotStack = 512;        // the stub's loop needs less than a tenth of it
constexpr u64 kBigScripts = 16 << 20;  // reserved; only what scripts fill is ever touched
constexpr u64 kFirstSlot = 2 * kPageSize;

constexpr u64 kOptions = PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD;

// Signals that the stub's own faults would raise: nothing that one could go on after.
bool is_fault(int signal) {
  return signal == SIGSEGV || signal == SIGBUS || signal == SIGILL || signal == SIGFPE ||
         signal == SIGSYS;
}

Error lost(Pid tid, const trace::Stop& stop) {
  if (stop.code == CLD_EXITED) {
    return fail(ESRCH, fmt::format("thread {} exited while it was being rebuilt", tid));
  }
  return fail(ESRCH, fmt::format("thread {} was killed by signal {} while it was being rebuilt",
                                 tid, stop.status & 0x7f));
}

// Waits for the trap that ends a script, or for the end of a traced system call (SIGTRAP | 0x80).
// Signals from outside meanwhile (almost all are blocked) do not end it; they are not delivered,
// as the process does not exist yet for anybody.
Result<void> wait_for_trap(Pid tid, int wanted, bool step_by_call) {
  while (true) {
    const trace::Stop stop = TRY(trace::wait_for(tid, true));
    if (!stop.alive()) return lost(tid, stop);
    if (stop.status == wanted) return {};
    if (stop.event() == 0 && is_fault(stop.signal())) {
      return fail(EFAULT, fmt::format("thread {} got signal {} while it was being rebuilt", tid,
                                      stop.signal()));
    }
    log::debug("thread {}: stop {:#x} passed over", tid, stop.status);
    TRY(step_by_call ? trace::resume_to_call(tid) : trace::resume(tid));
  }
}

}  // namespace

Target::Target(Pid pid, Scratch scratch, trace::RemoteMemory memory)
    : pid_(pid), threads_{pid}, scratch_(scratch), memory_(std::move(memory)) {}

Target::Target(Target&& other) noexcept
    : pid_(other.pid_),
      threads_(std::move(other.threads_)),
      scratch_(other.scratch_),
      memory_(std::move(other.memory_)),
      released_(std::exchange(other.released_, true)) {}

Target::~Target() {
  if (released_) return;
  (void)::kill(pid_, SIGKILL);  // it may be dead already
  // The leader's end is told only after that of all other traced threads.
  for (auto tid = threads_.rbegin(); tid != threads_.rend(); ++tid) {
    for (auto stop = trace::wait_for(*tid, true); stop && stop->alive();) {
      stop = trace::wait_for(*tid, true);  // an error: it is gone
    }
  }
}

u64 Target::scratch_length(size_t threads) {
  return kFirstSlot + threads * kSlot + kBigScripts + Scratch::kVdsoRoom;
}

RemoteAddr Target::stack_of(size_t index) const {
  if (index == 0) return scratch_.start + kFirstSlot;
  return scratch_.start + kFirstSlot + (index + 1) * kSlot;
}

Result<Target::Place> Target::place_for(Pid tid, u64 length) const {
  const auto found = std::find(threads_.begin(), threads_.end(), tid);
  if (found == threads_.end()) {
    return fail(EINVAL, fmt::format("thread {} does not belong to process {}", tid, pid_));
  }
  const auto index = static_cast<size_t>(found - threads_.begin());
  const RemoteAddr stack = stack_of(index);
  if (index > 0 && length <= kSlot - kSlotStack) return Place{stack - kSlot, stack};
  const RemoteAddr big = scratch_.vdso_room() - kBigScripts;
  if (length <= kBigScripts) return Place{big, stack};
  return fail(E2BIG, fmt::format("a script of {} bytes is too large for process {}", length, pid_));
}

Result<void> Target::start(Pid tid, const Place& place, const trace::Script& script) {
  TRY(memory_.write(place.script, script.serialise(place.script)));
  arch::Registers registers = TRY(trace::get_registers(tid));
  arch::set_call(registers, scratch_.start, 0, {place.script.value});
  arch::set_stack_pointer(registers, place.stack);
  TRY(trace::set_registers(tid, registers));
  return trace::resume(tid);
}

Result<trace::ScriptRun> Target::finish(Pid tid, const Place& place, const trace::Script& script) {
  TRY(wait_for_trap(tid, SIGTRAP, false));
  Bytes after(script.serialised_size());
  TRY(memory_.read(place.script, after));
  return trace::parse_run(script, after);
}

Result<trace::ScriptRun> Target::run_at(Pid tid, const Place& place, const trace::Script& script) {
  TRY(start(tid, place, script));
  return finish(tid, place, script);
}

Result<trace::ScriptRun> Target::run_partly(const trace::Script& script) {
  if (script.empty()) return trace::ScriptRun{};
  return run_at(pid_, TRY(place_for(pid_, script.serialised_size())), script);
}

Result<trace::ScriptOutcome> Target::run(const trace::Script& script) {
  return trace::outcome_of(script, TRY(run_partly(script)));
}

Result<trace::ScriptOutcome> Target::run_in(Pid tid, const trace::Script& script) {
  if (script.empty()) return trace::ScriptOutcome{};
  const Place place = TRY(place_for(tid, script.serialised_size()));
  return trace::outcome_of(script, TRY(run_at(tid, place, script)));
}

Result<std::vector<trace::ScriptOutcome>> Target::run_together(
    std::span<const ThreadScript> scripts) {
  const RemoteAddr big = scratch_.vdso_room() - kBigScripts;
  std::vector<std::optional<Place>> running(scripts.size());
  std::vector<Result<trace::ScriptOutcome>> outcomes(scripts.size(), trace::ScriptOutcome{});
  const auto finish_one = [&](size_t i) {
    auto run = finish(scripts[i].tid, *running[i], scripts[i].script);
    running[i].reset();
    outcomes[i] = run ? trace::outcome_of(scripts[i].script, std::move(run).take_value())
                      : Result<trace::ScriptOutcome>(run.error());
  };
  const auto start_one = [&](size_t i) -> Result<void> {
    const auto& [tid, script] = scripts[i];
    if (script.empty()) return {};
    const Place place = TRY(place_for(tid, script.serialised_size()));
    // Only one at a time can use the place for big scripts: its user is waited for first.
    for (size_t j = 0; j < i && place.script == big; ++j) {
      if (running[j] && running[j]->script == big) finish_one(j);
    }
    TRY(start(tid, place, script));
    running[i] = place;
    return {};
  };
  for (size_t i = 0; i < scripts.size(); ++i) {
    if (auto started = start_one(i); !started) outcomes[i] = started.error();
  }
  for (size_t i = 0; i < scripts.size(); ++i) {
    if (running[i]) finish_one(i);
  }
  std::vector<trace::ScriptOutcome> results;
  for (auto& outcome : outcomes) results.push_back(TRY(std::move(outcome)));
  return results;
}

Result<int> Target::execute(int fd) {
  trace::Script script;
  const u64 arguments[2] = {0, 0};  // a name, and the end of the list
  const trace::DataRef list = script.object(arguments);
  script.point(list, 0, script.text("stasis"));
  script.call("execute a program", SYS_execveat,
              {static_cast<u64>(fd), script.text(""), list, u64{0}, u64{AT_EMPTY_PATH}});
  const Place place = TRY(place_for(pid_, script.serialised_size()));
  TRY(trace::set_options(pid_, kOptions | PTRACE_O_TRACEEXEC));
  TRY(start(pid_, place, script));
  const trace::Stop stop = TRY(trace::wait_for(pid_, true));
  if (!stop.alive()) return lost(pid_, stop);
  TRY(trace::set_options(pid_, kOptions));
  if (stop.event() == PTRACE_EVENT_EXEC) {
    // On to the exit of execve: registers set before it would be overwritten by its result.
    TRY(trace::resume_to_call(pid_));
    TRY(wait_for_trap(pid_, SIGTRAP | 0x80, true));
    return 0;
  }
  Bytes after(script.serialised_size());
  TRY(memory_.read(place.script, after));
  const trace::ScriptRun run = TRY(trace::parse_run(script, after));
  return static_cast<int>(-run.results.at(run.done));
}

Result<i64> Target::bare_call(Pid tid, RemoteAddr at, i64 number, std::initializer_list<u64> args) {
  std::array<u64, 6> all = {};
  std::copy_n(args.begin(), std::min(args.size(), all.size()), all.begin());
  arch::Registers registers = TRY(trace::get_registers(tid));
  arch::set_call(registers, at, number, all);
  TRY(trace::set_registers(tid, registers));
  for (int stop = 0; stop < 2; ++stop) {  // entry, exit
    TRY(trace::resume_to_call(tid));
    TRY(wait_for_trap(tid, SIGTRAP | 0x80, true));
  }
  return arch::result(TRY(trace::get_registers(tid)));
}

}  // namespace stasis::restart
