// The order is what matters: the frame lies in memory that is nobody's, then the registers make the
// thread run the handler, and only then are its vector registers and its mask changed, which the
// frame puts back. So our death at any line means either nothing or a handler that runs and
// returns.
// Essay: docs/design/insured-calls.md.
#include "trace/handler_entry.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>

#include "arch/signal_frame.h"
#include "trace/call_site.h"
#include "trace/ptrace.h"

namespace stasis::trace {
namespace {

// The kernel leaves SIGKILL and SIGSTOP out by itself.
constexpr u64 kAllSignals = ~u64{0};

std::string name_of(const FrozenProcess& process, const FrozenThread& thread) {
  return fmt::format("thread {} of process {}", thread.tid, process.pid);
}

Result<void> check(const FrozenProcess& process, const FrozenThread& thread) {
  if (thread.zombie) return fail(EOPNOTSUPP, name_of(process, thread) + " has exited");
  if (auto obstacle = call_obstacle(process.pid, thread.tid)) return *std::move(obstacle);
  if (TRY(has_user_dispatch(thread.tid))) {
    return fail(EOPNOTSUPP, name_of(process, thread) +
                                " uses syscall user dispatch: the return from a handler would go "
                                "to a handler of its own");
  }
  return {};
}

// The frame must lie in the area that the stack pointer is in: what is below it is another's.
Result<void> check_room(const FrozenProcess& process, const FrozenThread& thread, RemoteAddr lowest,
                        std::span<const proc::Area> areas) {
  const RemoteAddr sp = arch::stack_pointer(thread.registers);
  // A stack pointer at the very end of its area is that of an empty stack.
  const auto found = std::find_if(areas.begin(), areas.end(), [sp](const proc::Area& area) {
    return area.start < sp && sp <= area.end;
  });
  const bool writable = found != areas.end() && (found->protection & PROT_WRITE) != 0;
  if (writable && lowest >= found->start) return {};
  if (writable && CallSite::grow(*found, process.memory, lowest)) return {};
  return fail(EOPNOTSUPP,
              fmt::format("{} has no room on its stack for a signal handler (stack pointer {:#x})",
                          name_of(process, thread), sp.value),
              "Try again a moment later.");
}

// From the first line on the thread will run the handler.
Result<void> redirect(FrozenThread& thread, const arch::HandlerFrame& frame,
                      const ExtendedState& initial) {
  TRY(set_registers(thread.tid, frame.registers));
  TRY(set_extended_state(thread.tid, initial));
  return set_signal_mask(thread.tid, kAllSignals);
}

}  // namespace

Result<void> enter_handler(FrozenProcess& process, FrozenThread& thread, const HandlerEntry& entry,
                           std::span<const proc::Area> areas) {
  TRY(check(process, thread));
  ExtendedState extended = TRY(get_extended_state(thread.tid));
  const arch::HandlerFrame frame = arch::build_handler_frame(
      {.registers = arch::resolve_for_handler(thread.registers, thread.interrupted_call),
       .blocked_signals = thread.blocked_signals,
       .extended = extended.bytes,
       .legacy = extended.legacy,
       .handler = entry.handler,
       .restorer = entry.restorer,
       .signal = entry.signal,
       .value = entry.value});
  TRY(check_room(process, thread, frame.start, areas));
  TRY(process.memory.write(frame.start, frame.bytes));
  const ExtendedState initial = {.bytes = arch::initial_extended(extended.bytes, extended.legacy),
                                 .legacy = extended.legacy};
  auto redirected = redirect(thread, frame, initial);
  if (!redirected.ok()) {
    // As if nothing had been; where even that fails the thread is dying.
    (void)set_registers(thread.tid, thread.registers);
    (void)set_extended_state(thread.tid, extended);
    return std::move(redirected)
        .context(fmt::format("cannot send {} into a handler", name_of(process, thread)));
  }
  thread.registers = frame.registers;
  thread.blocked_signals = kAllSignals;
  thread.interrupted_call = -1;
  thread.remaining_ns = -1;
  return {};
}

Result<void> enter_handler(FrozenProcess& process, FrozenThread& thread,
                           const HandlerEntry& entry) {
  const std::vector<proc::Area> areas = TRY(proc::read_maps(process.any_live_tid()));
  return enter_handler(process, thread, entry, areas);
}

Result<bool> end_signal_wait(FrozenProcess&, FrozenThread& thread) {
  if (thread.zombie || !arch::waits_for_signal(thread.interrupted_call)) return false;
  const arch::Registers over = arch::resolve_for_handler(thread.registers, thread.interrupted_call);
  // One word: the mask from before the call comes back by itself (or is back already, where
  // questions were asked inside the thread).
  TRY(poke_user(thread.tid, arch::kResultOffset, static_cast<u64>(arch::result(over))));
  thread.registers = over;
  thread.interrupted_call = -1;
  return true;
}

}  // namespace stasis::trace
