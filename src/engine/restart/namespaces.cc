// A helper (a clone of ours, so nothing there may allocate) unshares, writes the identity maps,
// clones init and, by CLONE_PARENT, the newborn, which thereby is our child and not the helper's;
// reports; and exits. All that stays is init: no descriptor, no memory worth speaking of, its own
// session.
//
// A child of our parent can only be made by ourselves. Then we do what the helper does, but keep
// our mounts, as we need our own /proc; init makes some of its own, which the newborn joins.
// Essay: docs/design/pids.md.
#include "restart/namespaces.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/sched.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "base/sys.h"
#include "restart/namespace_init.h"
#include "trace/ptrace.h"

namespace stasis::restart {
namespace {

constexpr int kNewTime = 0x00000080;  // CLONE_NEWTIME, Linux 5.6

std::string_view text_of(NamespaceStep step) {
  switch (step) {
    case NamespaceStep::kDone:
      return "finish";
    case NamespaceStep::kUnshare:
      return "create namespaces";
    case NamespaceStep::kMaps:
      return "map our user and group into a new user namespace";
    case NamespaceStep::kInit:
      return "create the first process of a pid namespace";
    case NamespaceStep::kTime:
      return "set the clocks of a time namespace";
    case NamespaceStep::kMount:
      return "mount /proc in a pid namespace";
    case NamespaceStep::kClone:
      return "create the process there with its id";
  }
  return "work";
}

struct Ends {
  UniqueFd first, second;
};

struct Plan {
  const NewbornPlan& newborn;
  const Gate& gate;
  Parent parent = Parent::kUs;
  Pid id = 0;
  int kept = -1;              // by init
  std::string users, groups;  // the lines of uid_map and gid_map
  std::string time;           // those of timens_offsets; empty: no time namespace
  Ends& init;                 // its maker's end, and its own
  int report = -1;            // the helper's, to us
  bool only_try = false;      // init, which ends with the helper, and nobody else
};

// --- in the helper, or in us: system calls only ---

bool write_text(const char* path, std::string_view text) {
  const int fd = ::open(path, O_WRONLY | O_CLOEXEC);
  if (fd == -1) return false;
  const bool done = ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  (void)::close(fd);
  return done;
}

bool set_clocks(const Plan& plan, NamespaceReport& report) {
  if (plan.time.empty()) return true;
  report.step = NamespaceStep::kTime;
  return write_text("/proc/self/timens_offsets", plan.time);
}

bool enter_namespaces(const Plan& plan, NamespaceReport& report) {
  report.step = NamespaceStep::kUnshare;
  const int wanted = CLONE_NEWPID | (plan.parent == Parent::kUs ? CLONE_NEWNS : 0) |
                     (plan.time.empty() ? 0 : kNewTime);
  if (::unshare(wanted) == 0) return set_clocks(plan, report);  // root need not change users
  if (::unshare(CLONE_NEWUSER | wanted) != 0) return false;
  report.step = NamespaceStep::kMaps;
  return write_text("/proc/self/setgroups", "deny") &&
         write_text("/proc/self/uid_map", plan.users) &&
         write_text("/proc/self/gid_map", plan.groups) && set_clocks(plan, report);
}

// Returns init's pid as we see it; 0 when it could not be made.
Pid make_init(const Plan& plan, NamespaceReport& report) {
  report.step = NamespaceStep::kInit;
  const long init = ::syscall(SYS_clone, long{SIGCHLD}, 0L, 0L, 0L, 0L);
  if (init == -1) return 0;
  if (init == 0) {
    plan.init.first.reset();
    live_as_init(plan.init.second.get(), plan.kept,
                 plan.parent == Parent::kUs ? Mounts::kPrivate : Mounts::kToMake);
  }
  plan.init.second.reset();
  NamespaceReport from_init;
  if (!receive_message(plan.init.first.get(), from_init)) {
    from_init = {NamespaceStep::kInit, ECHILD, 0};
  }
  if (from_init.code == 0) return static_cast<Pid>(init);
  report.step = from_init.step;
  report.code = from_init.code;
  return 0;
}

// `mounts`: the namespace that the newborn joins; -1: it is born into it.
bool clone_there(const Plan& plan, int mounts, NamespaceReport& report) {
  report.step = NamespaceStep::kClone;
  clone_args arguments = {};
  arguments.flags = CLONE_PARENT;
  // An address of ours for the kernel: the interface is a number.
  arguments.set_tid = reinterpret_cast<u64>(&plan.id);
  arguments.set_tid_size = 1;
  const long pid = ::syscall(SYS_clone3, &arguments, sizeof arguments);
  if (pid == 0) {
    if (plan.report >= 0) (void)::close(plan.report);
    plan.init.first.reset();
    if (mounts >= 0 && ::setns(mounts, CLONE_NEWNS) != 0) ::_exit(1);
    live_as_newborn(plan.newborn, plan.gate);
  }
  if (pid == -1) return false;
  report.step = NamespaceStep::kDone;
  report.pid = static_cast<Pid>(pid);
  const char born = 1;
  return send_message(plan.init.first.get(), born);
}

[[noreturn]] void live_as_helper(const Plan& plan) {
  NamespaceReport report;
  const bool done = enter_namespaces(plan, report) && make_init(plan, report) != 0 &&
                    (plan.only_try || clone_there(plan, -1, report));
  if (!done && report.code == 0) report.code = sys::last_code();
  (void)send_message(plan.report, report);
  ::_exit(0);
}

// --- in us ---

Result<Ends> make_pair() {
  int ends[2];
  TRY(sys::check(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), "make",
                 "a socket pair"));
  return Ends{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

// What most often is behind the kernel's answer.
std::string_view remark_on(const NamespaceReport& report) {
  if (report.step == NamespaceStep::kUnshare && report.code == ENOSPC) {
    return " (user.max_user_namespaces is 0 or reached)";
  }
  const bool early = report.step == NamespaceStep::kUnshare || report.step == NamespaceStep::kMaps;
  if (early && (report.code == EPERM || report.code == EACCES)) {
    return " (a setting of this machine or container forbids them to ordinary users)";
  }
  return "";
}

Result<Pid> answer_of(const NamespaceReport& report) {
  if (report.code == 0) return report.pid;
  return fail(report.code, fmt::format("cannot {}: {}{}", text_of(report.step),
                                       ::strerror(report.code), remark_on(report)));
}

Result<Pid> by_helper(Plan plan) {
  Ends ours = TRY(make_pair());
  plan.report = ours.second.get();
  const long helper =
      TRY(sys::raw("create", "a helper process", SYS_clone, long{SIGCHLD}, 0L, 0L, 0L, 0L));
  if (helper == 0) live_as_helper(plan);
  ours.second.reset();
  NamespaceReport report;
  const size_t got =
      TRY(sys::read_full(ours.first.get(), std::as_writable_bytes(std::span(&report, 1))));
  TRY(trace::wait_for(static_cast<Pid>(helper), true));
  if (got != sizeof report) return fail(ECHILD, "the helper that makes namespaces died");
  return answer_of(report);
}

// Whether the kernel allows it all.
Result<void> try_out(Plan plan) {
  Ends init = TRY(make_pair());
  Plan trial{.newborn = plan.newborn,
             .gate = plan.gate,
             .parent = Parent::kUs,
             .id = plan.id,
             .users = std::move(plan.users),
             .groups = std::move(plan.groups),
             .init = init,
             .only_try = true};
  TRY(by_helper(std::move(trial)));
  return {};
}

// This process stays in the new user namespace, and its next children would be born into the pid
// namespace: it makes none. Where it may it goes back.
Result<Pid> by_ourselves(const Plan& plan) {
  TRY(try_out(plan));  // there would be no way back
  const UniqueFd before = TRY(sys::open("/proc/self/ns/pid", O_RDONLY));
  NamespaceReport report;
  bool done = enter_namespaces(plan, report);
  if (done) {
    const Pid init = make_init(plan, report);
    done = init != 0;
    if (done) {
      const UniqueFd mounts = TRY(sys::open(fmt::format("/proc/{}/ns/mnt", init), O_RDONLY));
      done = clone_there(plan, mounts.get(), report);
    }
  }
  if (!done && report.code == 0) report.code = sys::last_code();
  (void)::setns(before.get(), CLONE_NEWPID);  // threads could not be made otherwise
  return answer_of(report);
}

}  // namespace

Result<Pid> clone_newborn_in_namespaces(const NewbornPlan& newborn, const Gate& gate, Parent parent,
                                        Pid id, const NamespaceWishes& wishes) {
  Ends init = TRY(make_pair());
  const Plan plan{.newborn = newborn,
                  .gate = gate,
                  .parent = parent,
                  .id = id,
                  .kept = wishes.kept,
                  .users = fmt::format("{0} {0} 1", ::geteuid()),
                  .groups = fmt::format("{0} {0} 1", ::getegid()),
                  .time = wishes.time,
                  .init = init};
  const BlockedSignals blocked;
  return parent == Parent::kUs ? by_helper(plan) : by_ourselves(plan);
}

}  // namespace stasis::restart
