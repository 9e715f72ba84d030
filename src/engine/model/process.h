// Processes and threads as an image holds them. Numbers and shapes are the kernel's; what one
// machine alone understands (registers, xstate, siginfo) is carried as the bytes ptrace gives.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/types.h"
#include "model/credentials.h"
#include "model/field.h"
#include "model/memory.h"
#include "model/resource.h"
#include "model/timers.h"

namespace stasis::model {

struct Registers {
  Bytes general;        // NT_PRSTATUS
  Bytes extended;       // NT_X86_XSTATE, or NT_PRFPREG where there is no xsave
  bool legacy = false;  // extended is NT_PRFPREG

  bool operator==(const Registers&) const = default;
  static constexpr auto fields() {
    return std::tuple{field("general", &Registers::general),
                      field("extended", &Registers::extended), field("legacy", &Registers::legacy)};
  }
};

// A system call that the freeze interrupted and that goes on with the time it had left.
struct InterruptedCall {
  i64 number = 0;         // the system call's number, found out even where restart_syscall hid it
  i64 remaining_ns = -1;  // time left of a relative timeout; -1: none or unknown (full time again)

  bool operator==(const InterruptedCall&) const = default;
  static constexpr auto fields() {
    return std::tuple{field("number", &InterruptedCall::number),
                      field("remaining_ns", &InterruptedCall::remaining_ns)};
  }
};

struct AlternateStack {
  RemoteAddr sp;
  u32 flags = 0;
  u64 size = 0;

  bool operator==(const AlternateStack&) const = default;
  static constexpr auto fields() {
    return std::tuple{field("sp", &AlternateStack::sp), field("flags", &AlternateStack::flags),
                      field("size", &AlternateStack::size)};
  }
};

struct Rseq {
  RemoteAddr address;
  u32 size = 0;
  u32 signature = 0;

  bool operator==(const Rseq&) const = default;
  static constexpr auto fields() {
    return std::tuple{field("address", &Rseq::address), field("size", &Rseq::size),
                      field("signature", &Rseq::signature)};
  }
};

// struct sched_attr (sched(7)) and what goes with it.
struct Scheduling {
  u32 policy = 0;
  u64 flags = 0;
  i32 nice = 0;
  u32 priority = 0;
  u64 runtime_ns = 0, deadline_ns = 0, period_ns = 0;
  Bytes affinity;       // as sched_getaffinity gives it
  u32 io_priority = 0;  // ioprio_get(2); 0: none set
  u64 timer_slack_ns = 0;
  u32 util_min = 0, util_max = 0;  // sched_util_*: hints on the load; 0 and 0: the kernel has none

  bool operator==(const Scheduling&) const = default;
  static constexpr auto fields() {
    return std::tuple{field("policy", &Scheduling::policy),
                      field("flags", &Scheduling::flags),
                      field("nice", &Scheduling::nice),
                      field("priority", &Scheduling::priority),
                      field("runtime_ns", &Scheduling::runtime_ns),
                      field("deadline_ns", &Scheduling::deadline_ns),
                      field("period_ns", &Scheduling::period_ns),
                      field("affinity", &Scheduling::affinity),
                      field("io_priority", &Scheduling::io_priority),
                      field("timer_slack_ns", &Scheduling::timer_slack_ns),
                      optional_field("util_min", &Scheduling::util_min),
                      optional_field("util_max", &Scheduling::util_max)};
  }
};

// set_mempolicy(2).
struct MemoryPolicy {
  i32 mode = 0;  // MPOL_* with its flags; 0: the default
  Bytes nodes;   // as get_mempolicy gives it, without zeros at its end

  bool operator==(const MemoryPolicy&) const = default;
  static constexpr auto fields() {
    return std::tuple{field("mode", &MemoryPolicy::mode), field("nodes", &MemoryPolicy::nodes)};
  }
};

// What a thread chose of itself by prctl(2) and arch_prctl(2). As a new thread has it: what an
// image says that was made before these were saved.
struct ThreadChoices {
  bool keep_capabilities = false;  // PR_GET_KEEPCAPS
  bool io_flusher = false;         // PR_GET_IO_FLUSHER
  i32 tsc = 1;                     // PR_GET_TSC: 1 may be read, 2 SIGSEGV
  bool cpuid_faults = false;       // ARCH_GET_CPUID is 0
  i32 mce_kill = 2;                // PR_MCE_KILL_GET: PR_MCE_KILL_DEFAULT
  std::vector<u32> speculation;    // PR_GET_SPECULATION_CTRL, by its kinds
  MemoryPolicy memory_policy;

  bool operator==(const ThreadChoices&) const = default;
  static constexpr auto fields() {
    return std::tuple{optional_field("keep_capabilities", &ThreadChoices::keep_capabilities),
                      optional_field("io_flusher", &ThreadChoices::io_flusher),
                      optional_field("tsc", &ThreadChoices::tsc),
                      optional_field("cpuid_faults", &ThreadChoices::cpuid_faults),
                      optional_field("mce_kill", &ThreadChoices::mce_kill),
                      optional_field("speculation", &ThreadChoices::speculation),
                      optional_field("memory_policy", &ThreadChoices::memory_policy)};
  }
};

struct Thread {
  Pid tid = 0;
  std::string name;  // comm
  Registers registers;
  std::optional<InterruptedCall> interrupted;
  u64 blocked_signals = 0;  // bit n-1 = signal n
  AlternateStack alternate_stack;
  RemoteAddr robust_list;
  u64 robust_list_length = 0;
  RemoteAddr tid_address;  // set_tid_address
  std::optional<Rseq> rseq;
  Scheduling scheduling;
  std::vector<Bytes> pending;  // siginfo_t each, in queue order
  i32 parent_death_signal = 0;
  bool no_new_privs = false;
  ThreadChoices choices;
  bool zombie = false;  // a leader that called pthread_exit: only tid is meaningful

  bool operator==(const Thread&) const = default;
  static constexpr auto fields() {
    return std::tuple{field("tid", &Thread::tid),
                      field("name", &Thread::name),
                      field("registers", &Thread::registers),
                      field("interrupted", &Thread::interrupted),
                      field("blocked_signals", &Thread::blocked_signals),
                      field("alternate_stack", &Thread::alternate_stack),
                      field("robust_list", &Thread::robust_list),
                      field("robust_list_length", &Thread::robust_list_length),
                      field("tid_address", &Thread::tid_address),
                      field("rseq", &Thread::rseq),
                      field("scheduling", &Thread::scheduling),
                      field("pending", &Thread::pending),
                      field("parent_death_signal", &Thread::parent_death_signal),
                      field("no_new_privs", &Thread::no_new_privs),
                      optional_field("choices", &Thread::choices),
                      field("zombie", &Thread::zombie)};
  }
};

// struct kernel_sigaction of a signal whose action is not the default.
struct SignalAction {
  i32 signal = 0;
  RemoteAddr handler;  // 1: ignored
  u64 flags = 0;
  RemoteAddr restorer;
  u64 mask = 0;

  bool operator==(const SignalAction&) const = default;
  static constexpr auto fields() {
    return std::tuple{
        field("signal", &SignalAction::signal), field("handler", &SignalAction::handler),
        field("flags", &SignalAction::flags), field("restorer", &SignalAction::restorer),
        field("mask", &SignalAction::mask)};
  }
};

struct ResourceLimit {
  i32 which = 0;  // RLIMIT_*
  u64 soft = 0;
  u64 hard = 0;

  bool operator==(const ResourceLimit&) const = default;
  static constexpr auto fields() {
    return std::tuple{field("which", &ResourceLimit::which), field("soft", &ResourceLimit::soft),
                      field("hard", &ResourceLimit::hard)};
  }
};

struct Process {
  Pid pid = 0;
  Pid parent = 0;
  Pid group = 0;
  Pid session = 0;
  i32 exit_signal = 17;  // what its parent gets at its end: SIGCHLD, or what clone(2) was asked for
  Credentials credentials;
  std::optional<ResourceIndex> executable;  // a RegularFile
  std::string working_directory;
  std::string root_directory;
  u32 umask = 0;
  u64 personality = 0;
  i32 dumpable = 1;
  bool child_subreaper = false;
  i32 oom_score_adj = 0;
  bool stopped = false;      // by SIGSTOP or its like
  i32 stop_signal = 0;       // which of them; 0: unknown
  std::string label;         // /proc/PID/attr/current, of a security module; empty: none
  std::optional<u32> login;  // /proc/PID/loginuid; none: the kernel has no auditing
  // State components it asked leave for (x86: arch_prctl(ARCH_GET_XCOMP_PERM), AMX); 0: unknown.
  u64 state_permissions = 0;
  RemoteAddr control_block;  // libcr's (stasis/handshake.h) if it takes part in checkpoints; or 0
  std::vector<ResourceLimit> limits;
  std::vector<SignalAction> actions;
  std::vector<Bytes> pending;  // process-wide, siginfo_t each
  std::vector<IntervalTimer> interval_timers;
  std::vector<PosixTimer> posix_timers;
  i32 next_timer_id = 0;
  Memory memory;
  std::vector<Descriptor> descriptors;  // ascending
  std::vector<Thread> threads;          // the leader first, then ascending

  bool operator==(const Process&) const = default;
  static constexpr auto fields() {
    return std::tuple{field("pid", &Process::pid),
                      field("parent", &Process::parent),
                      field("group", &Process::group),
                      field("session", &Process::session),
                      optional_field("exit_signal", &Process::exit_signal),
                      field("credentials", &Process::credentials),
                      field("executable", &Process::executable),
                      field("working_directory", &Process::working_directory),
                      field("root_directory", &Process::root_directory),
                      field("umask", &Process::umask),
                      field("personality", &Process::personality),
                      field("dumpable", &Process::dumpable),
                      field("child_subreaper", &Process::child_subreaper),
                      field("oom_score_adj", &Process::oom_score_adj),
                      field("stopped", &Process::stopped),
                      optional_field("stop_signal", &Process::stop_signal),
                      optional_field("label", &Process::label),
                      optional_field("login", &Process::login),
                      optional_field("state_permissions", &Process::state_permissions),
                      optional_field("control_block", &Process::control_block),
                      field("limits", &Process::limits),
                      field("actions", &Process::actions),
                      field("pending", &Process::pending),
                      field("interval_timers", &Process::interval_timers),
                      field("posix_timers", &Process::posix_timers),
                      field("next_timer_id", &Process::next_timer_id),
                      field("memory", &Process::memory),
                      field("descriptors", &Process::descriptors),
                      field("threads", &Process::threads)};
  }
};

// A process that has exited and whose parent, one of the image's, has not waited for it yet.
struct Zombie {
  Pid pid = 0;
  Pid parent = 0;
  Pid group = 0;
  Pid session = 0;
  std::string name;      // comm
  i32 wait_status = 0;   // as wait(2) will tell it; a core dump is not told again
  i32 exit_signal = 17;  // as Process::exit_signal

  bool operator==(const Zombie&) const = default;
  static constexpr auto fields() {
    return std::tuple{field("pid", &Zombie::pid),
                      field("parent", &Zombie::parent),
                      field("group", &Zombie::group),
                      field("session", &Zombie::session),
                      field("name", &Zombie::name),
                      field("wait_status", &Zombie::wait_status),
                      field("exit_signal", &Zombie::exit_signal)};
  }
};

}  // namespace stasis::model
