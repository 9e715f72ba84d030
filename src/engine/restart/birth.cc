// The newborn's own code and the parent's side of it: clone, seize, exec. Emptying is empty.cc's.
//
// Order of things: the newborn parks its descriptors (without close-on-exec, at numbers nobody
// needs), says so, and waits; we seize it with EXITKILL, so that from here on it dies with us; then
// it executes its program and stops at PTRACE_EVENT_EXEC. If the exec fails it stops itself by
// SIGSTOP and stays a copy of us. All signals but SIGTRAP (which ends scripts) are blocked
// throughout and their actions are the default ones.
// Essay: docs/design/restart.md.
#include "restart/birth.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <linux/sched.h>
#include <signal.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/sys.h"
#include "restart/empty.h"
#include "trace/ptrace.h"

namespace stasis::restart {
namespace {

constexpr u64 kOptions = PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD;
constexpr i64 kStartLimitMs = 60'000;  // of a machine that swaps; only our own bugs come near

// --- in the newborn: system calls only ---

// struct kernel_sigaction with everything 0: the default action.
struct KernelAction {
  u64 handler = 0, flags = 0, restorer = 0, mask = 0;
};

void reset_signals() {
  const KernelAction plain;
  for (int signal = 1; signal <= 64; ++signal) {
    // SIGKILL and SIGSTOP answer EINVAL: they have no other action anyway.
    (void)::syscall(SYS_rt_sigaction, signal, &plain, nullptr, sizeof plain.mask);
  }
}

// The soft limits of cr_restart are not those of the program, which gets its own at the end: what
// is made until then may need all that may be had. But for the stack's, by which an exec decides on
// which side of it memory is mapped.
void raise_limits() {
  for (int which = 0; which < static_cast<int>(RLIM_NLIMITS); ++which) {
    const auto resource = static_cast<__rlimit_resource>(which);
    rlimit limit = {};
    if (resource == RLIMIT_STACK || ::getrlimit(resource, &limit) != 0) continue;
    limit.rlim_cur = limit.rlim_max;
    (void)::setrlimit(resource, &limit);  // if not, what needs it says what is wrong
  }
}

int park(const NewbornPlan& plan) {
  for (const Parking& parking : plan.parking) {
    if (::dup2(parking.from, parking.to) == -1) return sys::last_code();
  }
  return 0;
}

// CAP_SYS_ADMIN is for kernels before 5.9, CAP_SETPCAP for the saved bounding set.
constexpr int kCheckpointRestore = 40;
constexpr int kKept[] = {kCheckpointRestore, CAP_SYS_ADMIN, CAP_SETPCAP};

// An exec takes all capabilities from an ordinary user, but those in the ambient set, which must be
// inheritable first: capabilities(7).
void keep_capabilities() {
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct sets[2] = {};
  if (::syscall(SYS_capget, &header, sets) != 0) return;
  for (auto& set : sets) set.inheritable = set.permitted;
  (void)::syscall(SYS_capset, &header, sets);  // if not, raising fails and ids are refused
  for (const int capability : kKept) {
    (void)::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0);
  }
}

// All that a user's process keeps of ours while it is made: choosing ids, and dropping from the
// bounding set. None of it reaches a file that he cannot reach.
bool keep_only_what_makes_ids() {
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct sets[2] = {};
  if (::syscall(SYS_capget, &header, sets) != 0) return false;
  constexpr u32 kLow = u32{1} << CAP_SETPCAP, kHigh = u32{1} << (kCheckpointRestore - 32);
  const u32 kept[2] = {kLow, kHigh};
  for (int i = 0; i < 2; ++i) {
    sets[i].permitted &= kept[i];
    sets[i].effective = sets[i].inheritable = sets[i].permitted;
  }
  if (::syscall(SYS_capset, &header, sets) != 0) return false;
  for (const int capability : {kCheckpointRestore, CAP_SETPCAP}) {
    (void)::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0);
  }
  return true;
}

bool is_user(const resource::Identity& user) {
  uid_t uids[3] = {};
  gid_t gids[3] = {};
  if (::getresuid(&uids[0], &uids[1], &uids[2]) != 0) return false;
  if (::getresgid(&gids[0], &gids[1], &gids[2]) != 0) return false;
  return std::ranges::count(uids, user.uid) == 3 && std::ranges::count(gids, user.gid) == 3;
}

// The session keyring is inherited, as descriptors are, and whoever holds it may read its keys: a
// user's program gets an empty one of its own, as by pam_keyinit(8).
bool leave_session_keyring() {
  if (::syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, nullptr) != -1) return true;
  // No keyrings; or a filter that forbids them, to the program as well.
  return sys::last_code() == ENOSYS || sys::last_code() == EPERM;
}

// 0, or why it cannot become the user. Who is that user already (with a capability of the file
// cr_restart, say) may not set ids, and need not.
int become(const resource::Identity& user) {
  if (is_user(user)) return keep_only_what_makes_ids() ? 0 : sys::last_code();
  const bool done = ::syscall(SYS_setgroups, user.groups.size(), user.groups.data()) == 0 &&
                    ::syscall(SYS_setresgid, user.gid, user.gid, user.gid) == 0 &&
                    ::prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) == 0 &&
                    ::syscall(SYS_setresuid, user.uid, user.uid, user.uid) == 0 &&
                    leave_session_keyring() && keep_only_what_makes_ids() &&
                    ::prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) == 0;
  return done ? 0 : sys::last_code();
}

bool tell(int fd, int code) {
  return ::write(fd, &code, sizeof code) == static_cast<ssize_t>(sizeof code);
}

// --- in us ---

Result<int> hear(const Gate& gate, std::string_view what) {
  int code = 0;
  const size_t got =
      TRY(sys::read_full(gate.ours.get(), std::as_writable_bytes(std::span(&code, 1))));
  if (got == sizeof code) return code;
  return fail(ESRCH, fmt::format("a new process died before {}", what));
}

u64 all_but_trap() {
  return ~(u64{1} << (SIGTRAP - 1));
}

// What the stop after the gate was opened means.
Result<bool> has_become(Pid pid, const trace::Stop& stop) {
  if (!stop.alive()) {
    return fail(ESRCH, fmt::format("the new process {} died with status {}", pid, stop.status));
  }
  return stop.event() == PTRACE_EVENT_EXEC;
}

Result<Born> raise(Pid pid, const NewbornPlan& plan, const Gate& gate, Scratch scratch) {
  const int parked = TRY(hear(gate, "it had its descriptors"));
  if (parked != 0) return sys::error_of(parked, "prepare", "a new process");
  if (auto seized = trace::seize(pid, kOptions | PTRACE_O_TRACEEXEC); !seized) {
    const auto end = trace::poll_for(pid, false);  // the dead cannot be seized: EPERM
    if (end && *end) TRY(has_become(pid, **end));
    return std::move(seized).context("while making a new process").take_error();
  }
  if (!tell(gate.ours.get(), 0)) return sys::last_error("start", fmt::format("process {}", pid));
  const trace::Stop stop = TRY(trace::wait_for(pid, true, kStartLimitMs));
  const bool became = TRY(has_become(pid, stop));
  std::string obstacle;
  if (became) {
    // On to the exit of execve: registers set before it would be overwritten by its result.
    TRY(trace::set_options(pid, kOptions));
    TRY(trace::resume_to_call(pid));
    TRY(has_become(pid, TRY(trace::wait_for(pid, true, kStartLimitMs))));
  } else if (plan.executable >= 0) {
    obstacle = ::strerror(TRY(hear(gate, "it said why it could not execute its program")));
  }
  return Born{TRY(empty_process(pid, scratch)), became, std::move(obstacle)};
}

}  // namespace

BlockedSignals::BlockedSignals() {
  const u64 mask = all_but_trap();
  // Cannot fail: the arguments are right.
  (void)::syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, &before_, sizeof mask);
}

BlockedSignals::~BlockedSignals() {
  (void)::syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before_, nullptr, sizeof before_);
}

Result<Gate> Gate::make() {
  int ends[2];
  TRY(sys::check(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), "make",
                 "a socket pair"));
  return Gate{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

void live_as_newborn(const NewbornPlan& plan, const Gate& gate) {
  const int door = gate.theirs.get();
  (void)::close(gate.ours.get());  // so that our end hears when the parent dies
#ifdef PR_SET_PTRACER
  // Yama: we need not be a descendant of who seizes us. EINVAL without Yama.
  (void)::prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
#endif
  reset_signals();
  raise_limits();
  (void)::personality(PER_LINUX);  // ours may say READ_IMPLIES_EXEC; the image's comes later
  int code = park(plan);
  if (code == 0 && plan.user != nullptr) {
    code = become(*plan.user);
  } else if (plan.keep_capabilities) {
    keep_capabilities();
  }
  if (!tell(door, code)) ::_exit(1);
  if (::read(door, &code, sizeof code) != static_cast<ssize_t>(sizeof code)) ::_exit(1);
  if (plan.executable >= 0) {
    char name[] = "stasis";
    char* arguments[] = {name, nullptr};
    char* environment[] = {nullptr};
    (void)::syscall(SYS_execveat, plan.executable, "", arguments, environment, AT_EMPTY_PATH);
    (void)tell(door, sys::last_code());  // who should hear it sees us stop in any case
  }
  const auto self = static_cast<Pid>(::syscall(SYS_getpid));  // libc's is cached, from before
  for (;;) (void)::kill(self, SIGSTOP);
}

Result<Pid> clone_newborn(const NewbornPlan& plan, const Gate& gate, Parent parent, Pid id) {
  const u64 flags = parent == Parent::kOurParent ? u64{CLONE_PARENT} : 0;
  const BlockedSignals blocked;
  long pid = 0;
  if (id != 0) {
    clone_args arguments = {};
    arguments.flags = flags;
    arguments.exit_signal = parent == Parent::kOurParent ? 0 : SIGCHLD;
    // An address of ours for the kernel: the interface is a number.
    arguments.set_tid = reinterpret_cast<u64>(&id);
    arguments.set_tid_size = 1;
    pid = ::syscall(SYS_clone3, &arguments, sizeof arguments);
  } else {
    pid = ::syscall(SYS_clone, flags | SIGCHLD, 0L, 0L, 0L, 0L);
  }
  if (pid == 0) live_as_newborn(plan, gate);
  if (pid == -1) {
    return sys::last_error("create", id != 0 ? fmt::format("process {}", id) : "a process");
  }
  return static_cast<Pid>(pid);
}

void drop_newborn(Pid pid) {
  (void)::kill(pid, SIGKILL);  // it waits at the gate, so it is there
  // Nobody else knows it; one that is our parent's child and was not seized yet answers ECHILD.
  (void)trace::wait_for(pid, true);
}

Result<Born> raise_newborn(Pid pid, const NewbornPlan& plan, Gate gate, Scratch scratch) {
  gate.theirs.reset();
  auto born = raise(pid, plan, gate, scratch);
  if (!born) drop_newborn(pid);
  return born;
}

}  // namespace stasis::restart
