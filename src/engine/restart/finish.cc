// finish_process(): pending signals, timers, limits and credentials by script; then, with every
// signal blocked and no script any more, restart blocks, SIGTRAP's action, the end of the scratch
// area; and last the registers. Afterwards the threads only have to be detached.
// Essay: docs/design/restart.md.
#include "restart/finish.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <algorithm>

#include "arch/call_class.h"
#include "arch/cpu_features.h"
#include "base/saturated.h"
#include "base/sys.h"
#include "restart/attributes.h"
#include "restart/choices.h"
#include "restart/clocks.h"
#include "restart/credentials.h"
#include "restart/passes.h"
#include "restart/priming.h"
#include "restart/signals.h"
#include "restart/stops.h"
#include "restart/timers.h"
#include "restart/vdso_home.h"
#include "trace/ptrace.h"

namespace stasis::restart {
namespace {

constexpr u64 kDataBelowStack = 256;  // room in a thread's slot that nothing uses any more

ClockState clock_state(const resource::Clocks& clocks) {
  const ClocksHere here = clocks_here();
  return {.clocks = clocks,
          .monotonic_ns = saturated_sum(here.monotonic_ns, clocks.monotonic.ours_ns),
          .boottime_ns = saturated_sum(here.boottime_ns, clocks.boottime.ours_ns)};
}

struct Live {
  const model::Thread* saved = nullptr;
  Pid tid = 0;
  RemoteAddr data;            // kDataBelowStack bytes in the scratch area
  arch::Registers registers;  // as they shall be
  bool primed = false;
};

class Finish {
 public:
  Finish(BuildState& state, size_t index)
      : state_(state),
        index_(index),
        target_(state.targets[index]),
        process_(state.process(index)) {}

  Result<void> find_threads() {
    const auto& known = target_.threads();
    for (const model::Thread& thread : process_.threads) {
      Live live{.saved = &thread, .tid = state_.ids.at(thread.tid), .data = {}, .registers = {}};
      const auto place = std::find(known.begin(), known.end(), live.tid);
      if (place == known.end()) {
        return fail(ESRCH, fmt::format("thread {} was not made", thread.tid));
      }
      live.data = target_.stack_of(static_cast<size_t>(place - known.begin())) - kDataBelowStack;
      if (thread.zombie) continue;  // release_process() lets it exit
      live.registers = TRY(
          arch::from_bytes(thread.registers.general).context(fmt::format("thread {}", thread.tid)));
      live_.push_back(std::move(live));
    }
    if (live_.empty()) return fail(EINVAL, "no thread of the process was alive");
    return {};
  }

  // Nothing may be delivered before the end, and nothing queued may be seen by a script.
  Result<void> block_signals() {
    for (const Pid tid : target_.threads()) TRY(trace::set_signal_mask(tid, kBuildMask));
    return {};
  }

  Result<void> queue_signals() {
    std::vector<ThreadScript> scripts;
    const Pid pid = state_.ids_inside.at(process_.pid);
    trace::Script process_wide;
    add_pending(without_traps(process_.pending), pid, process_wide);
    (void)TRY(target_.run(process_wide));
    for (const Live& live : live_) {
      ThreadScript& own = scripts.emplace_back(ThreadScript{live.tid, {}});
      add_thread_pending(without_traps(live.saved->pending), pid,
                         state_.ids_inside.at(live.saved->tid), own.script);
    }
    (void)TRY(target_.run_together(scripts));
    return {};
  }

  Result<void> limits() {
    trace::Script script = limits_script(process_);
    // Under Yama's scope 1 it could not be checkpointed again otherwise; EINVAL without Yama.
    script.attempt("allow tracing", SYS_prctl, {u64{PR_SET_PTRACER}, ~u64{0}});
    (void)TRY(target_.run(script));
    return {};
  }

  Result<void> prime_calls() {
    call_at_ = TRY(lasting_call_instruction(target_));
    const ClockState clocks = clock_state(state_.context.clocks);
    for (Live& live : live_) {
      const auto call = priming_call(*live.saved, live.registers, clocks, absolute_time(live));
      if (!call) {
        note_lost_call(live);
        continue;
      }
      live.registers = TRY(prime(target_, live.tid, call_at_, live.data, *call, live.registers)
                               .context(fmt::format("thread {}", live.saved->tid)));
      live.primed = true;
    }
    return {};
  }

  // From here on no int3: SIGTRAP belongs to the program.
  Result<void> last_calls() {
    const Live& worker = pick_worker();
    TRY(set_trap_action(worker));
    TRY(queue_traps());
    TRY(bare(worker.tid, "set dumpable", SYS_prctl,
             {u64{PR_SET_DUMPABLE}, process_.dumpable == 1 ? u64{1} : u64{0}}));
    deny_gain(state_, index_, worker.tid, call_at_);
    const Scratch scratch = target_.scratch();
    TRY(bare(worker.tid, "unmap the scratch area", SYS_munmap,
             {scratch.start.value, scratch.length}));
    return stop_as_before(state_, index_, worker.tid, call_at_);
  }

  Result<void> restore_state() {
    for (const Live& live : live_) {
      TRY(restore_thread(live).context(fmt::format("thread {}", live.saved->tid)));
    }
    return {};
  }

 private:
  std::optional<std::array<i64, 2>> absolute_time(const Live& live) {
    const RemoteAddr at = absolute_timeout(*live.saved, live.registers);
    if (!at) return std::nullopt;
    const auto time = target_.memory().read_object<std::array<i64, 2>>(at);
    return time ? std::optional(*time) : std::nullopt;
  }

  void note_lost_call(const Live& live) {
    if (arch::result(live.registers) != arch::kRestartBlock) return;
    state_.context.notes.push_back(fmt::format(
        "thread {}: the call it waited in is not known; it ended with EINTR", live.saved->tid));
  }

  // A thread without a restart block if there is one: every call it makes would be one too many.
  const Live& pick_worker() const {
    const auto found =
        std::find_if(live_.begin(), live_.end(), [](const Live& live) { return !live.primed; });
    return found == live_.end() ? live_.front() : *found;
  }

  Result<void> bare(Pid tid, std::string_view what, i64 number, std::initializer_list<u64> args) {
    const i64 result =
        TRY(target_.bare_call(tid, call_at_, number, args).context(std::string(what)));
    if (result >= 0) return {};
    return sys::error_of(static_cast<int>(-result), what,
                         fmt::format("in process {}", process_.pid));
  }

  Result<void> set_trap_action(const Live& worker) {
    TRY(target_.memory().write(worker.data, action_bytes(process_, SIGTRAP)));
    return bare(worker.tid, "set the action of SIGTRAP", SYS_rt_sigaction,
                {u64{SIGTRAP}, worker.data.value, u64{0}, u64{8}});
  }

  // Blocked here as in the program: there it could not have been pending otherwise.
  Result<void> queue_traps() {
    const auto pid = static_cast<u64>(state_.ids_inside.at(process_.pid));
    const bool leader = live_.front().tid == target_.pid();
    for (const Bytes& info : only_traps(process_.pending)) {
      if (!leader) return fail(ENOTSUP, "SIGTRAP was pending for a process without a leader");
      TRY(queue_trap(live_.front(), info, SYS_rt_sigqueueinfo,
                     {pid, u64{SIGTRAP}, live_.front().data.value}));
    }
    for (const Live& live : live_) {
      const auto tid = static_cast<u64>(state_.ids_inside.at(live.saved->tid));
      for (const Bytes& info : only_traps(live.saved->pending)) {
        TRY(queue_trap(live, info, SYS_rt_tgsigqueueinfo,
                       {pid, tid, u64{SIGTRAP}, live.data.value}));
      }
    }
    return {};
  }

  Result<void> queue_trap(const Live& live, Bytes info, i64 number,
                          std::initializer_list<u64> args) {
    info.resize(sizeof(siginfo_t));
    TRY(target_.memory().write(live.data, info));
    for (const Live& each : live_) TRY(trace::set_signal_mask(each.tid, ~u64{0}));
    return bare(live.tid, "queue a pending SIGTRAP", number, args);
  }

  Result<void> restore_thread(const Live& live) {
    const model::Registers& saved = live.saved->registers;
    trace::ExtendedState extended{saved.extended, saved.legacy};
    const trace::ExtendedState fresh = TRY(trace::get_extended_state(live.tid));
    if (!saved.legacy && !fresh.legacy) {
      extended.bytes = TRY(arch::adapt_extended_state(saved.extended, fresh.bytes));
    }
    TRY(trace::set_extended_state(live.tid, extended));
    const auto section = state_.rseq_sections.find(live.tid);
    if (section != state_.rseq_sections.end()) {
      constexpr u64 kRseqSectionOffset = 8;
      TRY(target_.memory().write_forced(live.saved->rseq->address + kRseqSectionOffset,
                                        std::as_bytes(std::span(&section->second, 1))));
    }
    TRY(trace::set_registers(live.tid, live.registers));
    return trace::set_signal_mask(live.tid, live.saved->blocked_signals);
  }

  BuildState& state_;
  size_t index_;
  Target& target_;
  const model::Process& process_;
  std::vector<Live> live_;
  RemoteAddr call_at_;
};

Result<void> finish_all(BuildState& state, size_t index) {
  Finish finish(state, index);
  TRY(finish.find_threads());
  TRY(finish.block_signals());
  TRY(rebuild_timers(state, index));
  TRY(finish.queue_signals());
  TRY(finish.limits());
  TRY(finish_rights(state, index));
  TRY(finish.prime_calls());
  TRY(finish.last_calls());
  return finish.restore_state();
}

}  // namespace

trace::Script last_thread_script(const model::Process& process, const model::Thread& thread,
                                 const model::Credentials& now, bool own_namespace) {
  trace::Script script =
      credentials_script(process.credentials, now, own_namespace, thread.choices.keep_capabilities);
  if (thread.no_new_privs) {
    script.call("set no_new_privs", SYS_prctl,
                {u64{PR_SET_NO_NEW_PRIVS}, u64{1}, u64{0}, u64{0}, u64{0}});
  }
  if (thread.parent_death_signal != 0) {
    script.call("set the parent-death signal", SYS_prctl,
                {u64{PR_SET_PDEATHSIG}, static_cast<u64>(thread.parent_death_signal)});
  }
  return script;
}

Result<void> finish_process(BuildState& state, size_t process) {
  return finish_all(state, process).context(fmt::format("process {}", state.process(process).pid));
}

}  // namespace stasis::restart
