// Questions to the target itself. Each is a query that is harmless to finish should we die in it.
#include "capture/inside.h"

#include <linux/prctl.h>
#include <linux/securebits.h>
#include <signal.h>
#include <sys/syscall.h>

#include <array>

#include "arch/cpu_features.h"
#include "capture/asker.h"
#include "capture/choices.h"

namespace stasis::capture {
namespace {

// The kernel's own layout, which is not the C library's struct sigaction.
struct KernelAction {
  u64 handler, flags, restorer, mask;
};
// What stack_t is on 64-bit machines.
struct KernelStack {
  u64 sp;
  i32 flags;
  i32 padding;
  u64 size;
};

constexpr int kSignals = 64;

Result<void> ask_actions(Asker& ask, model::Process& into) {
  for (int signal = 1; signal <= kSignals; ++signal) {
    if (signal == SIGKILL || signal == SIGSTOP) continue;
    const auto action = TRY(ask.object<KernelAction>(
        "its signal actions", SYS_rt_sigaction, {static_cast<u64>(signal), 0, ask.scratch(), 8}));
    if (action.handler == 0 && action.flags == 0 && action.mask == 0) continue;
    into.actions.push_back({.signal = signal,
                            .handler = {action.handler},
                            .flags = action.flags,
                            .restorer = {action.restorer},
                            .mask = action.mask});
  }
  return {};
}

}  // namespace

Result<void> ask_process(trace::FrozenProcess& process, trace::RemoteCalls& calls,
                         model::Process& into) {
  Asker ask(process, calls);
  if (const auto query = arch::permission_query()) {
    // EINVAL where the kernel knows no such components (before Linux 5.16).
    if (TRY(calls.call(query->number, {query->option, ask.scratch()})) == 0) {
      into.state_permissions = TRY(process.memory.read_object<u64>(calls.scratch()));
    }
  }
  TRY(ask_actions(ask, into));
  into.dumpable = static_cast<i32>(TRY(ask.prctl(PR_GET_DUMPABLE)));
  // Keeping capabilities is what a thread chose, without any right (capture/choices.h).
  into.credentials.securebits =
      static_cast<u32>(TRY(ask.prctl(PR_GET_SECUREBITS))) & ~u32{SECBIT_KEEP_CAPS};
  TRY(ask_memory_choices(ask, into.memory));
  into.child_subreaper =
      TRY(ask.object<i32>("its subreaper mark", SYS_prctl,
                          {PR_GET_CHILD_SUBREAPER, ask.scratch(), 0, 0, 0})) != 0;
  into.memory.marks.brk = {static_cast<u64>(TRY(ask.value("its program break", SYS_brk, {0})))};
  return {};
}

Result<void> ask_thread(trace::FrozenProcess& process, trace::RemoteCalls& calls,
                        model::Thread& into) {
  Asker ask(process, calls);
  const auto stack =
      TRY(ask.object<KernelStack>("an alternate stack", SYS_sigaltstack, {0, ask.scratch()}));
  into.alternate_stack = {
      .sp = {stack.sp}, .flags = static_cast<u32>(stack.flags), .size = stack.size};
  const auto address = calls.call(SYS_prctl, {PR_GET_TID_ADDRESS, ask.scratch(), 0, 0, 0});
  if (TRY(address) == 0) {  // EINVAL where the kernel lacks CONFIG_CHECKPOINT_RESTORE
    into.tid_address = {TRY(process.memory.read_object<u64>(calls.scratch()))};
  }
  into.parent_death_signal = TRY(ask.object<i32>("its parent-death signal", SYS_prctl,
                                                 {PR_GET_PDEATHSIG, ask.scratch(), 0, 0, 0}));
  into.scheduling.timer_slack_ns = static_cast<u64>(TRY(ask.prctl(PR_GET_TIMERSLACK)));
  return ask_thread_choices(ask, into);
}

Result<std::vector<model::Run>> resident_runs(trace::FrozenProcess& process,
                                              trace::RemoteCalls& calls, const proc::Area& area) {
  std::vector<model::Run> runs;
  Asker ask(process, calls);
  std::array<std::byte, trace::RemoteCalls::kScratchSize> present;
  for (u64 done = 0; done < area.length();) {
    const u64 pages = std::min<u64>((area.length() - done) / kPageSize, present.size());
    (void)TRY(ask.value("pages of shared memory", SYS_mincore,
                        {area.start.value + done, pages * kPageSize, ask.scratch()}));
    TRY(process.memory.read(calls.scratch(), ByteSpan(present).first(pages)));
    for (u64 page = 0; page < pages; ++page) {
      if ((present[page] & std::byte{1}) == std::byte{0}) continue;
      const u64 offset = area.offset + done + page * kPageSize;
      if (!runs.empty() && runs.back().offset + runs.back().length == offset) {
        runs.back().length += kPageSize;
      } else {
        runs.push_back({.offset = offset, .length = kPageSize});
      }
    }
    done += pages * kPageSize;
  }
  return runs;
}

}  // namespace stasis::capture
