// A call for each thing that is not as a new process has it. Numbers that are newer than the
// oldest headers we build with are given here.
#include "restart/choices.h"

#include <fmt/format.h>
#include <linux/prctl.h>
#include <sys/syscall.h>

#include <cstring>

#include "arch/cpu_features.h"

namespace stasis::restart {
namespace {

constexpr u64 kPrSetIoFlusher = 57;    // Linux 5.6
constexpr u64 kPrSetMemoryMerge = 67;  // Linux 6.4
constexpr u32 kControllable = PR_SPEC_PRCTL;
constexpr i32 kMceDefault = PR_MCE_KILL_DEFAULT;
constexpr u32 kUsual = PR_SPEC_ENABLE;

std::string_view kind_of_speculation(size_t kind) {
  constexpr std::string_view kNames[] = {"store bypass", "indirect branches", "L1D flush"};
  return kind < std::size(kNames) ? kNames[kind] : "another kind";
}

void wish_speculation(const std::vector<u32>& saved, Wishes& wishes) {
  for (size_t kind = 0; kind < saved.size(); ++kind) {
    if ((saved[kind] & kControllable) == 0) continue;  // the machine's, not the program's
    const u32 choice = saved[kind] & ~u32{PR_SPEC_PRCTL};
    if (choice == kUsual || choice == 0) continue;
    wishes.add(fmt::format("its choice about speculation ({})", kind_of_speculation(kind)),
               SYS_prctl, {u64{PR_SET_SPECULATION_CTRL}, u64{kind}, u64{choice}, u64{0}, u64{0}});
  }
}

void wish_memory_policy(const model::MemoryPolicy& saved, Wishes& wishes) {
  if (saved.mode == 0) return;
  const u64 bits = saved.nodes.size() * 8 + 1;  // the kernel takes one less
  Bytes nodes = saved.nodes;
  nodes.resize(nodes.size() + sizeof(u64));
  wishes.add(fmt::format("its memory policy {} (set_mempolicy)", saved.mode), SYS_set_mempolicy,
             {static_cast<u64>(static_cast<i64>(saved.mode)), wishes.script.data(nodes), bits});
}

Result<void> run_wishes(BuildState& state, Target& target, Pid tid, const Wishes& wishes,
                        const std::string& subject) {
  if (wishes.script.empty()) return {};
  const auto outcome = TRY(target.run_in(tid, wishes.script).context(subject));
  for (std::string& note : lost_wishes(wishes, outcome, subject)) {
    state.context.notes.push_back(std::move(note));
  }
  return {};
}

}  // namespace

void Wishes::add(std::string lost, i64 number, std::vector<trace::Argument> args) {
  const size_t operation = script.attempt(lost, number, std::move(args));
  tellings.push_back({operation, std::move(lost)});
}

Wishes memory_wishes(const model::Memory& memory) {
  Wishes wishes;
  if (memory.thp_disabled && memory.thp_flags != 0) {
    wishes.add("that huge pages are for advised memory only (they are off)", SYS_prctl,
               {u64{PR_SET_THP_DISABLE}, u64{1}, u64{memory.thp_flags}, u64{0}, u64{0}});
  }
  if (memory.merges) {
    wishes.add("that its equal pages may be merged (PR_SET_MEMORY_MERGE)", SYS_prctl,
               {kPrSetMemoryMerge, u64{1}, u64{0}, u64{0}, u64{0}});
  }
  for (u32 bit = 0; bit < 32; ++bit) {
    if ((memory.barriers >> bit & 1) == 0) continue;
    wishes.add(fmt::format("its registration for membarrier(2), command {:#x}", u32{1} << bit),
               SYS_membarrier, {u64{1} << bit, u64{0}, u64{0}});
  }
  return wishes;
}

Wishes thread_wishes(const model::ThreadChoices& choices) {
  Wishes wishes;
  if (choices.io_flusher) {
    wishes.add("that it serves writes to disk (PR_SET_IO_FLUSHER)", SYS_prctl,
               {kPrSetIoFlusher, u64{1}, u64{0}, u64{0}, u64{0}});
  }
  if (choices.mce_kill != kMceDefault) {
    wishes.add("how it hears of broken memory (PR_MCE_KILL)", SYS_prctl,
               {u64{PR_MCE_KILL}, u64{PR_MCE_KILL_SET}, static_cast<u64>(choices.mce_kill), u64{0},
                u64{0}});
  }
  wish_speculation(choices.speculation, wishes);
  wish_memory_policy(choices.memory_policy, wishes);
  if (choices.tsc != PR_TSC_ENABLE) {
    wishes.add("that it may not read the time stamp counter (PR_SET_TSC)", SYS_prctl,
               {u64{PR_SET_TSC}, static_cast<u64>(choices.tsc), u64{0}, u64{0}, u64{0}});
  }
  if (const auto setting = arch::cpuid_setting(); setting && choices.cpuid_faults) {
    wishes.add("that it may not ask for the processor's features (ARCH_SET_CPUID)", setting->number,
               {setting->option, u64{0}});
  }
  return wishes;
}

std::vector<std::string> lost_wishes(const Wishes& wishes, const trace::ScriptOutcome& outcome,
                                     const std::string& subject) {
  std::vector<std::string> notes;
  for (const Wishes::Telling& telling : wishes.tellings) {
    const i64 result = outcome.results.at(telling.operation);
    if (result >= 0) continue;
    notes.push_back(fmt::format("{} has lost {}: {}", subject, telling.lost,
                                ::strerror(static_cast<int>(-result))));
  }
  return notes;
}

Result<void> rebuild_choices(BuildState& state, size_t index) {
  const model::Process& process = state.process(index);
  Target& target = state.targets[index];
  TRY(run_wishes(state, target, target.pid(), memory_wishes(process.memory),
                 fmt::format("process {}", process.pid)));
  for (const model::Thread& thread : process.threads) {
    if (thread.zombie) continue;
    TRY(run_wishes(state, target, state.ids.at(thread.tid), thread_wishes(thread.choices),
                   fmt::format("thread {}", thread.tid)));
  }
  return {};
}

void deny_gain(BuildState& state, size_t index, Pid worker, RemoteAddr call_at) {
  constexpr i64 kPrSetMdwe = 65;  // Linux 6.3
  const model::Process& process = state.process(index);
  if (process.memory.deny_gain == 0) return;
  const auto done = state.targets[index].bare_call(
      worker, call_at, SYS_prctl, {u64{kPrSetMdwe}, u64{process.memory.deny_gain}, 0, 0, 0});
  if (done && *done == 0) return;
  state.context.notes.push_back(fmt::format(
      "process {} may make memory executable, which it had denied itself (PR_SET_MDWE): {}",
      process.pid, done ? ::strerror(static_cast<int>(-*done)) : done.error().message()));
}

}  // namespace stasis::restart
