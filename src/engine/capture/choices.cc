// Each question is harmless and its answer changes nothing. What a kernel does not know it answers
// with EINVAL: then the program cannot have chosen it.
#include "capture/choices.h"

#include <linux/keyctl.h>
#include <linux/membarrier.h>
#include <linux/prctl.h>
#include <linux/securebits.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "arch/cpu_features.h"

namespace stasis::capture {
namespace {

// Of headers newer than the oldest we build with.
constexpr int kPrGetMdwe = 66;             // Linux 6.3
constexpr int kPrGetMemoryMerge = 68;      // Linux 6.4
constexpr u64 kGetRegistrations = 1 << 9;  // MEMBARRIER_CMD_GET_REGISTRATIONS, Linux 6.3
constexpr u64 kThpFlags = 0x2;             // PR_THP_DISABLE_EXCEPT_ADVISED, Linux 6.18
constexpr u64 kSpeculationKinds = 3;       // PR_SPEC_*: store bypass, indirect branch, L1D

Result<void> ask_memory_policy(Asker& ask, model::MemoryPolicy& into) {
  constexpr u64 kNodes = 4096;  // bits: more than any kernel has, less than the scratch area
  constexpr u64 kMaskAt = 8;
  const i64 done =
      TRY(ask.raw(SYS_get_mempolicy, {ask.scratch(), ask.scratch() + kMaskAt, kNodes, 0, 0}));
  if (done < 0) return {};  // a kernel without NUMA
  into.mode = TRY(ask.in_scratch<i32>());
  const auto mask = TRY((ask.in_scratch<std::array<std::byte, kNodes / 8>>(kMaskAt)));
  into.nodes.assign(mask.begin(), mask.end());
  while (!into.nodes.empty() && into.nodes.back() == std::byte{0}) into.nodes.pop_back();
  if (into.mode == 0) into.nodes.clear();
  return {};
}

// Before GET_REGISTRATIONS each barrier tells by EPERM that its command was not registered. (The
// one of all processes never fails: whether it was registered is not known then.)
Result<u32> probe_barriers(Asker& ask) {
  struct Probe {
    u64 command;
    u32 registration;
  };
  constexpr Probe kProbes[] = {
      {MEMBARRIER_CMD_PRIVATE_EXPEDITED, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED},
      {MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE,
       MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE},
      {u64{1} << 7, 1 << 8},  // ..._RSEQ, Linux 5.10
  };
  u32 registered = 0;
  for (const Probe& probe : kProbes) {
    if (TRY(ask.raw(SYS_membarrier, {probe.command, 0, 0})) == 0) registered |= probe.registration;
  }
  return registered;
}

}  // namespace

Result<void> ask_thread_choices(Asker& ask, model::Thread& into) {
  model::ThreadChoices& choices = into.choices;
  choices.keep_capabilities = (TRY(ask.prctl(PR_GET_SECUREBITS)) & SECBIT_KEEP_CAPS) != 0;
  if (TRY(ask.raw(SYS_prctl, {PR_GET_TSC, ask.scratch(), 0, 0, 0})) == 0) {
    choices.tsc = TRY(ask.in_scratch<i32>());
  }
  const i64 mce_kill = TRY(ask.raw(SYS_prctl, {PR_MCE_KILL_GET, 0, 0, 0, 0}));
  if (mce_kill >= 0) choices.mce_kill = static_cast<i32>(mce_kill);
  for (u64 kind = 0; kind < kSpeculationKinds; ++kind) {
    choices.speculation.push_back(static_cast<u32>(TRY(ask.prctl(PR_GET_SPECULATION_CTRL, kind))));
  }
  if (const auto query = arch::cpuid_query()) {
    choices.cpuid_faults = TRY(ask.raw(query->number, {query->option, 0})) == 0;
  }
  return ask_memory_policy(ask, choices.memory_policy);
}

Result<void> ask_memory_choices(Asker& ask, model::Memory& into) {
  const auto thp = static_cast<u64>(TRY(ask.prctl(PR_GET_THP_DISABLE)));
  into.thp_disabled = thp != 0;
  into.thp_flags = static_cast<u32>(thp & kThpFlags);
  into.deny_gain = static_cast<u32>(TRY(ask.prctl(kPrGetMdwe)));
  into.merges = TRY(ask.prctl(kPrGetMemoryMerge)) == 1;
  const i64 registered = TRY(ask.raw(SYS_membarrier, {kGetRegistrations, 0, 0}));
  into.barriers = registered >= 0 ? static_cast<u32>(registered) : TRY(probe_barriers(ask));
  return {};
}

Result<void> note_keyrings(Asker& ask, Pid tid, std::vector<std::string>& notes) {
  struct Kind {
    i32 keyring;
    std::string_view name;
  };
  constexpr Kind kKinds[] = {{KEY_SPEC_THREAD_KEYRING, "thread"},
                             {KEY_SPEC_PROCESS_KEYRING, "process"}};
  for (const Kind& kind : kKinds) {
    const auto id = static_cast<u64>(i64{kind.keyring});
    if (TRY(ask.raw(SYS_keyctl, {KEYCTL_GET_KEYRING_ID, id, 0})) < 0) continue;  // has none
    notes.push_back(
        fmt::format("thread {}: the keys of its {} keyring are not saved", tid, kind.name));
  }
  return {};
}

}  // namespace stasis::capture
