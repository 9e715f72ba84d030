// Why a process cannot be traced, or calls cannot be made inside it: diagnosed from what the kernel
// shows to everybody, after one harmless question (may /proc/PID/mem be opened?) that is checked
// exactly as PTRACE_SEIZE would be. Touches nothing.
// Essay: docs/design/stock-kernels.md.
#include "trace/obstacle.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/capability.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>

#include "base/sys.h"
#include "proc/status.h"
#include "trace/freeze.h"

namespace stasis::trace {
namespace {

std::string cannot_attach(Pid pid) {
  return fmt::format("cannot attach to process {}: Operation not permitted", proc::describe(pid));
}

// 0 where the kernel has no Yama.
int yama_scope() {
  const auto text = sys::read_file("/proc/sys/kernel/yama/ptrace_scope");
  return text.ok() && !text->empty() ? text->front() - '0' : 0;
}

std::optional<std::string> yama_hint(Pid pid) {
  switch (yama_scope()) {
    case 1:
      return fmt::format(
          "This system allows tracing only of one's own descendants (kernel.yama.ptrace_scope = "
          "1), "
          "and process {0} was started before and is not one.\n"
          "Start programs with `cr_run PROGRAM` so that they can be checkpointed, or link them "
          "with "
          "libcr;\n"
          "for this one: type `exec cr_checkpoint {0}` in the shell that started it, or ask an "
          "administrator: `sudo sysctl kernel.yama.ptrace_scope=0`.",
          pid);
    case 2:
      return "This system allows tracing only for administrators (kernel.yama.ptrace_scope = 2).\n"
             "Start the program with `cr_run --userns`, or run this command as root.";
    case 3:
      return "Tracing is switched off until the next boot (kernel.yama.ptrace_scope = 3): nothing "
             "can be checkpointed.";
    default:
      return std::nullopt;
  }
}

bool may_trace(Pid pid, const std::vector<Pid>& threads) {
  if (sys::open(fmt::format("/proc/{}/mem", pid), O_RDONLY).ok()) return true;
  // The leader may have exited; its threads tell.
  for (const Pid tid : threads) {
    if (sys::open(fmt::format("/proc/{}/task/{}/mem", pid, tid), O_RDONLY).ok()) return true;
  }
  return false;
}

// Has exited, or is about to: its memory is gone before it says so.
bool is_over(Pid pid, const proc::Status& status) {
  constexpr u32 kExiting = 0x4;  // PF_EXITING
  if (status.state == 'X' || (status.state == 'Z' && status.threads <= 1)) return true;
  const auto stat = proc::read_stat(proc::live_thread(pid));
  return !stat || (stat->flags & kExiting) != 0;
}

bool is_kernel_thread(Pid pid) {
  constexpr u32 kKernelThread = 0x00200000;  // PF_KTHREAD
  const auto stat = proc::read_stat(pid);
  return stat.ok() && (stat->flags & kKernelThread) != 0;
}

// A process that is ending, or in the middle of an execve(2), looks for a moment like one that may
// not be traced. Where nothing else speaks against it, it is asked again.
bool may_trace_by_and_by(Pid pid) {
  constexpr int kTries = 10;
  constexpr timespec kPause = {.tv_sec = 0, .tv_nsec = 1'000'000};
  for (int i = 0; i < kTries; ++i) {
    const auto threads = proc::read_threads(pid);
    if (may_trace(pid, threads.ok() ? *threads : std::vector<Pid>())) return true;
    const auto status = proc::read_status(pid);
    const u32 ours = ::geteuid();
    if (!status || is_over(pid, *status) || is_kernel_thread(pid)) return false;
    if (ours != 0 && status->uids.front() != ours) return false;
    (void)::nanosleep(&kPause, nullptr);  // waking early is harmless
  }
  return false;
}

// The files of a process that is not dumpable belong to root (its folder does not: proc(5)).
bool is_dumpable(Pid pid, const proc::Status& status) {
  const auto owner = sys::stat(fmt::format("/proc/{}/status", pid));
  return !owner || status.uids.size() < 2 || owner->st_uid == status.uids[1];
}

Error diagnose(Pid pid, const proc::Status& status) {
  if (is_kernel_thread(pid)) {
    return fail(EPERM, cannot_attach(pid), "It is a thread of the kernel, not a program.");
  }
  const u32 ours = ::geteuid();
  for (const u32 uid : status.uids) {
    if (uid == ours || ours == 0) continue;
    return fail(EPERM, cannot_attach(pid),
                fmt::format("It belongs to user {}, and you are user {}: run this command as that "
                            "user or as root.",
                            uid, ours));
  }
  if (!is_dumpable(pid, status)) {
    return fail(
        EPERM, cannot_attach(pid) + ": it is not dumpable",
        "The kernel lets nobody but root look into a program that is set-user-id or set-group-id, "
        "has file capabilities, whose executable its user may not read, or that asked for it "
        "(prctl(PR_SET_DUMPABLE, 0), as programs do that hold keys).\n"
        "Run this command as root; or its author can allow it (PR_SET_DUMPABLE, 1).");
  }
  if (const auto hint = yama_hint(pid); hint && (ours != 0 || yama_scope() == 3)) {
    return fail(EPERM, cannot_attach(pid), *hint);
  }
  return fail(EPERM, cannot_attach(pid),
              "The kernel does not say why: a security module, or capabilities that you lack.");
}

}  // namespace

std::optional<Error> tracing_obstacle(Pid pid) {
  const auto status = proc::read_status(pid);
  if (!status && !proc::says_gone(status.error())) return status.error();
  if (!status) return fail(ESRCH, fmt::format("there is no process {}", pid));
  if (status->tracer != 0 && status->tracer != ::gettid()) {
    return fail(
        kPtraced,
        fmt::format("process {} is already traced by process {}", proc::describe(pid),
                    proc::describe(status->tracer)),
        "A process can have only one tracer (a debugger, strace, another checkpoint): end it, "
        "leave "
        "the process out (--ptraced-skip), or wait for the tracer to detach (--ptraced-allow).");
  }
  if (may_trace_by_and_by(pid)) return std::nullopt;
  const auto now = proc::read_status(pid);
  if (!now || is_over(pid, *now)) {
    return fail(ESRCH, fmt::format("process {} has exited", proc::describe(pid)));
  }
  return diagnose(pid, *now);
}

std::optional<Error> new_process_obstacle(bool elsewhere) {
  const int scope = yama_scope();
  if (scope < 2 || (scope == 2 && elsewhere)) return std::nullopt;
  if (scope >= 3) {
    return fail(
        EPERM, "new processes cannot be traced: Operation not permitted",
        "Tracing is switched off until the next boot (kernel.yama.ptrace_scope = 3): nothing "
        "can be restarted.");
  }
  const auto own = proc::read_status(::getpid());
  if (own.ok() && (own->cap_effective & (u64{1} << CAP_SYS_PTRACE)) != 0) return std::nullopt;
  return fail(EPERM, "new processes cannot be traced: Operation not permitted",
              "This system allows tracing only for administrators (kernel.yama.ptrace_scope = 2).\n"
              "Let it be restarted in namespaces of its own (without --no-restore-pid), where that "
              "is allowed, or run this command as root.");
}

std::optional<Error> call_obstacle(Pid pid, Pid tid) {
  const auto status = proc::read_status(pid, tid);
  if (!status && !proc::says_gone(status.error())) return status.error();
  if (!status) return fail(ESRCH, fmt::format("there is no thread {} of process {}", tid, pid));
  if (status->seccomp != 0) {
    return fail(EOPNOTSUPP,
                fmt::format("process {} runs under a seccomp filter", proc::describe(pid)),
                "A filter may kill the program for the questions that have to be asked inside it.");
  }
  if (status->thread_features.find("shstk") != std::string::npos) {
    return fail(EOPNOTSUPP, fmt::format("process {} uses a shadow stack", proc::describe(pid)),
                "Start it with GLIBC_TUNABLES=glibc.cpu.x86_shstk=off.");
  }
  return std::nullopt;
}

}  // namespace stasis::trace
