// rebuild_threads(): one script a thread, all started together.
#include "restart/threads.h"

#include <fmt/format.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <bit>

#include "base/sys.h"
#include "restart/passes.h"

namespace stasis::restart {
namespace {

// struct sched_attr as of Linux 5.3.
struct SchedAttr {
  u32 size;
  u32 policy;
  u64 flags;
  i32 nice;
  u32 priority;
  u64 runtime, deadline, period;
  u32 util_min, util_max;
};
constexpr u32 kFirstSize = 48;  // without the last two: Linux 3.14
static_assert(sizeof(SchedAttr) == kFirstSize + 8);

constexpr u64 kOnStack = 1, kAutodisarm = u64{1} << 31;  // SS_*
constexpr u32 kStackDisabled = 2;
constexpr u32 kBestEffort = 2, kIoClassShift = 13;  // ioprio_set(2)
constexpr u64 kIoprioWhoProcess = 1;
constexpr u32 kFullLoad = 1024;
constexpr u64 kKeepPolicy = 0x08, kUtilClamp = 0x60;  // SCHED_FLAG_*
constexpr u64 kRseqSectionOffset = 8;                 // rseq_cs in struct rseq

bool is_fair(u32 policy) {
  return policy == SCHED_OTHER || policy == SCHED_BATCH || policy == SCHED_IDLE;
}

// Reading the priority of a thread that never asked for one gives what follows from its nice value.
bool is_default_io_priority(const model::Scheduling& saved) {
  const u32 from_nice = kBestEffort << kIoClassShift | static_cast<u32>(saved.nice + 20) / 5;
  return saved.io_priority == 0 || saved.io_priority == from_nice;
}

void add_scheduling(const model::Scheduling& saved, const MachineFacts& facts,
                    trace::Script& script) {
  SchedAttr attr = {.size = kFirstSize,
                    .policy = saved.policy,
                    .flags = saved.flags,
                    .nice = saved.nice,
                    .priority = saved.priority,
                    .runtime = saved.runtime_ns,
                    .deadline = saved.deadline_ns,
                    .period = saved.period_ns,
                    .util_min = saved.util_min,
                    .util_max = saved.util_max};
  if (is_fair(saved.policy)) {
    // For these the runtime is a wished-for slice (Linux 6.12); the default is no wish.
    if (attr.runtime == facts.default_slice_ns) attr.runtime = 0;
    attr.deadline = attr.period = 0;
  }
  script.call("set the scheduling policy", SYS_sched_setattr,
              {u64{0}, script.object(attr), u64{0}});
  if (saved.util_max != 0 && (saved.util_min != 0 || saved.util_max != kFullLoad)) {
    // Hints, which a kernel may be built without.
    attr.size = sizeof attr;
    attr.flags |= kKeepPolicy | kUtilClamp;
    script.attempt("set the hints on its load", SYS_sched_setattr,
                   {u64{0}, script.object(attr), u64{0}});
  }
  if (saved.policy == SCHED_IDLE) {  // sched_setattr(2) looks at the nice value only for the others
    script.call("set the nice value", SYS_setpriority,
                {u64{PRIO_PROCESS}, u64{0}, static_cast<u64>(static_cast<i64>(saved.nice))});
  }
  if (!is_default_io_priority(saved)) {
    script.call("set the I/O priority", SYS_ioprio_set,
                {kIoprioWhoProcess, u64{0}, u64{saved.io_priority}});
  }
  if (const auto mask = affinity_for(saved.affinity, facts)) {
    // EINVAL where none of them is here; note_affinity() sees what came of it.
    script.attempt("set the CPU affinity", SYS_sched_setaffinity,
                   {u64{0}, u64{mask->size()}, script.data(*mask)});
  }
  if (saved.timer_slack_ns != 0) {
    script.call("set the timer slack", SYS_prctl, {u64{PR_SET_TIMERSLACK}, saved.timer_slack_ns});
  }
}

void add_alternate_stack(const model::AlternateStack& saved, trace::Script& script) {
  if ((saved.flags & kStackDisabled) != 0 || saved.size == 0) return;
  // A thread that runs on it reads back SS_ONSTACK, which is not for setting.
  const std::array<u64, 3> stack = {saved.sp.value, saved.flags & ~kOnStack & (kAutodisarm | 0xff),
                                    saved.size};
  script.call("set the alternate signal stack", SYS_sigaltstack, {script.object(stack), u64{0}});
}

u32 cpu_count(const Bytes& mask) {
  u32 count = 0;
  for (const std::byte byte : mask) {
    count += static_cast<u32>(std::popcount(std::to_integer<u8>(byte)));
  }
  return count;
}

// "0-3,8"
std::string cpu_list(const Bytes& mask) {
  std::string text;
  const auto has = [&](size_t cpu) {
    return cpu / 8 < mask.size() && (std::to_integer<u32>(mask[cpu / 8]) >> cpu % 8 & 1) != 0;
  };
  for (size_t cpu = 0; cpu < mask.size() * 8; ++cpu) {
    if (!has(cpu)) continue;
    size_t last = cpu;
    while (has(last + 1)) ++last;
    text += (text.empty() ? "" : ",") +
            (last == cpu ? fmt::format("{}", cpu) : fmt::format("{}-{}", cpu, last));
    cpu = last;
  }
  return text;
}

Result<Bytes> affinity_of(Pid tid, const std::string& subject) {
  Bytes mask(1024);  // 8192 CPUs, the largest NR_CPUS
  const long size =
      TRY(sys::raw("read", subject, SYS_sched_getaffinity, tid, mask.size(), mask.data()));
  mask.resize(static_cast<size_t>(size));
  return mask;
}

// The cpuset of the restarter, and the CPUs that there are, may allow only some of those saved.
void note_affinity(BuildState& state, const model::Thread& thread, Pid tid,
                   const MachineFacts& facts) {
  const auto wanted = affinity_for(thread.scheduling.affinity, facts);
  if (!wanted || *wanted != thread.scheduling.affinity) return;
  const auto now = affinity_of(tid, fmt::format("the affinity of thread {}", tid));
  if (!now || cpu_list(*now) == cpu_list(*wanted)) return;
  state.context.notes.push_back(fmt::format(
      "thread {} was bound to the CPUs {} and is bound to {}: no others are here for it",
      thread.tid, cpu_list(*wanted), cpu_list(*now)));
}

Result<MachineFacts> facts_of(const model::Image& image) {
  MachineFacts facts;
  facts.saved_cpus = image.origin.cpus;
  SchedAttr attr = {};
  (void)TRY(sys::raw("read", "our scheduling", SYS_sched_getattr, 0, &attr, sizeof attr, 0));
  if (is_fair(attr.policy)) facts.default_slice_ns = attr.runtime;
  facts.possible = TRY(affinity_of(0, "our CPU affinity"));
  return facts;
}

// Registering rseq clears the pointer to the critical section the thread may be in.
void note_rseq_section(BuildState& state, size_t index, const model::Thread& thread, Pid tid) {
  if (!thread.rseq) return;
  const auto section =
      state.targets[index].memory().read_object<u64>(thread.rseq->address + kRseqSectionOffset);
  if (section && *section != 0) state.rseq_sections[tid] = *section;
}

}  // namespace

std::optional<Bytes> affinity_for(const Bytes& saved, const MachineFacts& facts) {
  if (saved.empty()) return std::nullopt;
  if (facts.saved_cpus != 0 && cpu_count(saved) >= facts.saved_cpus) {
    return Bytes(std::max<size_t>(facts.possible.size(), 8), std::byte{0xff});
  }
  return saved;
}

trace::Script thread_script(const model::Thread& thread, const MachineFacts& facts) {
  trace::Script script;
  if (thread.robust_list) {
    script.call("set the robust list", SYS_set_robust_list,
                {thread.robust_list.value, thread.robust_list_length});
  }
  script.call("set the tid address", SYS_set_tid_address, {thread.tid_address.value});
  add_alternate_stack(thread.alternate_stack, script);
  script.call("set the name", SYS_prctl, {u64{PR_SET_NAME}, script.text(thread.name)});
  if (thread.rseq) {
    script.call(
        "register rseq", SYS_rseq,
        {thread.rseq->address.value, u64{thread.rseq->size}, u64{0}, u64{thread.rseq->signature}});
  }
  add_scheduling(thread.scheduling, facts, script);
  return script;
}

Result<void> rebuild_threads(BuildState& state, size_t index) {
  const MachineFacts facts = TRY(facts_of(state.context.image));
  std::vector<ThreadScript> scripts;
  for (const model::Thread& thread : state.process(index).threads) {
    if (thread.zombie) continue;
    const Pid tid = state.ids.at(thread.tid);
    note_rseq_section(state, index, thread, tid);
    scripts.push_back({tid, thread_script(thread, facts)});
  }
  (void)TRY(state.targets[index].run_together(scripts).context(
      fmt::format("threads of process {}", state.process(index).pid)));
  for (const model::Thread& thread : state.process(index).threads) {
    if (!thread.zombie) note_affinity(state, thread, state.ids.at(thread.tid), facts);
  }
  return {};
}

}  // namespace stasis::restart
