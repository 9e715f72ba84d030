// The survey: everything that speaks against saving some processes, all at once, from what can be
// seen without stopping or changing anything.
#include <fmt/format.h>
#include <linux/kcmp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/sys.h"
#include "capture/areas.h"
#include "capture/builder.h"
#include "capture/namespaces.h"
#include "capture/sharing.h"
#include "proc/status.h"
#include "trace/freeze.h"

namespace stasis::capture {
namespace {

using Refusals = std::vector<Refusal>;

void refuse(Refusals& refusals, Pid pid, std::string reason, std::string advice = {}) {
  refusals.push_back({.subject = "process " + proc::describe(pid),
                      .reason = std::move(reason),
                      .advice = std::move(advice)});
}

// A thread that is about to end has given back what it shared.
bool is_exiting(Pid pid, Pid tid) {
  constexpr u32 kExiting = 0x4;  // PF_EXITING
  const auto stat = proc::read_stat(pid, tid);
  return !stat || (stat->flags & kExiting) != 0;
}

std::string_view seccomp_reason(u32 mode) {
  if (mode == 1) return "runs in strict seccomp mode";
  return "has a seccomp filter, which an ordinary user can neither read nor set again";
}

bool same_rights(const proc::Status& a, const proc::Status& b) {
  return a.uids == b.uids && a.gids == b.gids && a.groups == b.groups &&
         a.cap_effective == b.cap_effective && a.cap_permitted == b.cap_permitted &&
         a.cap_inheritable == b.cap_inheritable && a.cap_bounding == b.cap_bounding &&
         a.cap_ambient == b.cap_ambient;
}

// The kernel keeps filters, credentials and namespaces for each thread; what the C library sets, it
// sets in all of them, but the bare system calls do not.
void survey_thread(Pid pid, Pid tid, const proc::Status& live, Refusals& refusals) {
  const auto status = proc::read_status(pid, tid);
  if (!status || is_exiting(pid, tid)) return;
  const std::string thread = fmt::format("thread {} ", tid);
  if (status->seccomp != 0) {
    refuse(refusals, pid, fmt::format("{}{}", thread, seccomp_reason(status->seccomp)));
  }
  if (!same_rights(*status, live)) {
    refuse(refusals, pid,
           thread + "has other user ids, groups or capabilities than thread " +
               std::to_string(live.pid));
  }
  for (const std::string_view kind : {"net", "ipc", "uts", "mnt", "cgroup", "time"}) {
    const auto own = sys::read_link(fmt::format("/proc/{}/task/{}/ns/{}", pid, tid, kind));
    const auto others = sys::read_link(fmt::format("/proc/{}/task/{}/ns/{}", pid, live.pid, kind));
    if (own.ok() && others.ok() && *own != *others) {
      refuse(refusals, pid, fmt::format("{}is in a {} namespace of its own", thread, kind));
    }
  }
}

// Threads that have unshared what threads normally share cannot be described by our model.
void survey_threads(Pid pid, Refusals& refusals) {
  const auto tids = proc::read_threads(pid);
  if (!tids) return;  // gone meanwhile: the freeze will say so
  const Pid live = proc::live_thread(pid);
  const auto status = proc::read_status(pid, live);
  for (const Pid tid : *tids) {
    if (tid == live || tid == pid) continue;
    if (status.ok()) survey_thread(pid, tid, *status, refusals);
    for (const auto& [type, what] : {std::pair{KCMP_FILES, "descriptor table"},
                                     std::pair{KCMP_FS, "working directory and umask"}}) {
      const auto same = sys::raw("compare", "threads", SYS_kcmp, live, tid, type, 0, 0);
      if (same.ok() && *same != 0 && !is_exiting(pid, live) && !is_exiting(pid, tid)) {
        refuse(refusals, pid, fmt::format("thread {} has its own {} (unshare(2))", tid, what));
      }
    }
  }
}

void survey_directories(Pid pid, Refusals& refusals) {
  const Pid live = proc::live_thread(pid);
  const auto root = sys::read_link(fmt::format("/proc/{}/root", live));
  if (root.ok() && *root != "/") {
    refuse(refusals, pid, fmt::format("its root directory is {} (chroot)", *root));
  }
  const auto directory = sys::read_link(fmt::format("/proc/{}/cwd", live));
  if (directory.ok() && directory->ends_with(" (deleted)")) {
    refuse(refusals, pid,
           fmt::format("its working directory {} has been removed",
                       directory->substr(0, directory->size() - 10)));
  }
}

void survey_status(Pid pid, Refusals& refusals) {
  const auto status = proc::read_status(pid, proc::live_thread(pid));
  if (!status) return;
  if (status->state == 'Z') refuse(refusals, pid, "it is a zombie: it has exited already");
  if (status->seccomp != 0) {
    refuse(refusals, pid, fmt::format("it {}", seccomp_reason(status->seccomp)));
  }
  if (status->untag_mask != ~u64{0}) {
    refuse(refusals, pid, "it uses tagged addresses (LAM), which are not restored");
  }
  if (status->thread_features.find("shstk") != std::string::npos) {
    refuse(refusals, pid, "it uses a shadow stack (CET), which cannot be moved to another process",
           "start it with GLIBC_TUNABLES=glibc.cpu.x86_shstk=off");
  }
}

void survey_memory(Pid pid, Refusals& refusals) {
  const auto areas = proc::read_smaps(proc::live_thread(pid));
  if (!areas) return;
  const auto found = area_refusals(pid, *areas);
  refusals.insert(refusals.end(), found.begin(), found.end());
}

// Whether the process has ended by now, or is about to: what can be seen of it says nothing then,
// and what is gone with its memory is forbidden to an ordinary user (EACCES), not absent.
bool has_ended(Pid pid) {
  return is_exiting(pid, proc::live_thread(pid));
}

void survey_process(Pid pid, Refusals& refusals) {
  Refusals found;
  survey_status(pid, found);
  survey_namespaces(pid, found);
  survey_threads(pid, found);
  survey_directories(pid, found);
  survey_memory(pid, found);
  if (!has_ended(pid)) refusals.insert(refusals.end(), found.begin(), found.end());
}

// Processes that come and go while we look spoil a look: another one is taken.
void survey_descriptors(std::span<const Pid> pids, const CaptureOptions& options,
                        Refusals& refusals) {
  constexpr int kTries = 50;
  for (int i = 0; i < kTries; ++i) {
    std::vector<Pid> alive(pids.begin(), pids.end());
    std::erase_if(alive, has_ended);
    Builder builder(alive, options);
    Refusals found;
    const auto loaded = builder.load_descriptors(found);
    if (!loaded && std::any_of(alive.begin(), alive.end(), has_ended)) continue;
    refusals.insert(refusals.end(), found.begin(), found.end());
    if (!loaded && loaded.error().code != ESRCH && loaded.error().code != EBADF) {
      refuse(refusals, pids.front(), loaded.error().message(), loaded.error().hint);
    }
    return;
  }
}

}  // namespace

std::vector<Refusal> survey(std::span<const Pid> pids, const CaptureOptions& options) {
  Refusals refusals;
  bool traceable = true;
  for (const Pid pid : pids) {
    const auto obstacle = trace::tracing_obstacle(pid);
    const bool over = has_ended(pid) || (obstacle && obstacle->code == ESRCH);
    if (over && pids.size() > 1) continue;
    if (obstacle) {
      refuse(refusals, pid, obstacle->message(), obstacle->hint);
      survey_status(pid, refusals);
      survey_namespaces(pid, refusals);
      traceable = false;
    } else {
      survey_process(pid, refusals);
    }
  }
  survey_clocks(pids, refusals);
  if (!traceable) return refusals;
  const auto sharing = sharing_refusals(pids, false);
  refusals.insert(refusals.end(), sharing.begin(), sharing.end());
  survey_descriptors(pids, options, refusals);
  return refusals;
}

}  // namespace stasis::capture
