// model::Thread from outside: ptrace register sets, sched_getattr(2), get_robust_list(2), rseq.
#include <fmt/format.h>
#include <sys/syscall.h>

#include "base/sys.h"
#include "capture/facts.h"
#include "proc/status.h"
#include "trace/ptrace.h"

namespace stasis::capture {
namespace {

// sched_attr as of Linux 4.13 plus the utilisation hints of 5.3.
struct SchedAttr {
  u32 size;
  u32 policy;
  u64 flags;
  i32 nice;
  u32 priority;
  u64 runtime, deadline, period;
  u32 util_min, util_max;
};

constexpr int kIoprioWhoProcess = 1;

Result<model::Scheduling> scheduling_of(Pid tid) {
  const std::string subject = fmt::format("the scheduling of thread {}", tid);
  SchedAttr attr = {};
  (void)TRY(sys::raw("read", subject, SYS_sched_getattr, tid, &attr, sizeof attr, 0));
  model::Scheduling result;
  result.policy = attr.policy;
  result.flags = attr.flags;
  result.nice = attr.nice;
  result.priority = attr.priority;
  result.runtime_ns = attr.runtime;
  result.deadline_ns = attr.deadline;
  result.period_ns = attr.period;
  result.util_min = attr.util_min;
  result.util_max = attr.util_max;
  result.affinity.resize(1024);  // 8192 CPUs, the largest NR_CPUS
  const long size = TRY(sys::raw("read", subject, SYS_sched_getaffinity, tid,
                                 result.affinity.size(), result.affinity.data()));
  result.affinity.resize(static_cast<size_t>(size));
  result.io_priority =
      static_cast<u32>(TRY(sys::raw("read", subject, SYS_ioprio_get, kIoprioWhoProcess, tid)));
  return result;
}

// PR_GET_IO_FLUSHER needs CAP_SYS_RESOURCE; the kernel shows its two marks to everybody.
bool flushes_io(Pid pid, Pid tid) {
  constexpr u32 kMarks = 0x00180000;  // PF_MEMALLOC_NOIO | PF_LOCAL_THROTTLE
  const auto stat = proc::read_stat(pid, tid);
  return stat.ok() && (stat->flags & kMarks) == kMarks;
}

Result<void> read_robust_list(model::Thread& thread, Pid tid) {
  void* head = nullptr;
  size_t length = 0;
  (void)TRY(sys::raw("read", fmt::format("the robust list of thread {}", tid), SYS_get_robust_list,
                     tid, &head, &length));
  thread.robust_list = {reinterpret_cast<u64>(head)};
  thread.robust_list_length = length;
  return {};
}

}  // namespace

Result<model::Thread> visible_thread_facts(Pid pid, Pid tid) {
  const proc::Status status = TRY(proc::read_status(pid, tid));
  model::Thread result;
  result.tid = status.namespace_pids.empty() ? tid : status.namespace_pids.back();
  result.name = status.name;
  result.zombie = status.state == 'Z' || status.state == 'X';
  if (result.zombie) return result;
  result.scheduling = TRY(scheduling_of(tid));
  result.no_new_privs = status.no_new_privs;
  return result;
}

Result<model::Thread> thread_facts(const trace::FrozenProcess& process,
                                   const trace::FrozenThread& thread) {
  const proc::Status status = TRY(proc::read_status(process.pid, thread.tid));
  model::Thread result;
  result.tid = status.namespace_pids.empty() ? thread.tid : status.namespace_pids.back();
  result.name = status.name;
  result.zombie = thread.zombie;
  if (thread.zombie) return result;
  const trace::ExtendedState extended = TRY(trace::get_extended_state(thread.tid));
  result.registers = {.general = arch::to_bytes(thread.registers),
                      .extended = extended.bytes,
                      .legacy = extended.legacy};
  if (thread.interrupted_call >= 0) {
    result.interrupted = {.number = thread.interrupted_call, .remaining_ns = thread.remaining_ns};
  }
  result.blocked_signals = thread.blocked_signals;
  result.scheduling = TRY(scheduling_of(thread.tid));
  TRY(read_robust_list(result, thread.tid));
  if (const auto rseq = TRY(trace::get_rseq(thread.tid))) {
    result.rseq = {.address = rseq->address, .size = rseq->size, .signature = rseq->signature};
  }
  result.no_new_privs = status.no_new_privs;
  result.choices.io_flusher = flushes_io(process.pid, thread.tid);
  return result;
}

}  // namespace stasis::capture
