// The processes run already and are traced by nobody: they are watched through their memory.
#include "engine/callbacks.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include <cerrno>

#include "base/sys.h"
#include "engine/deadline.h"
#include "engine/letting_go.h"
#include "notify/notify.h"
#include "proc/status.h"

namespace stasis::engine {
namespace {

// What was built, held by descriptors, so that only it can be killed.
class Job {
 public:
  explicit Job(const std::vector<Pid>& pids) : pids_(pids) {
    for (const Pid pid : pids) {
      if (auto pidfd = sys::pidfd_open(pid); pidfd.ok()) pidfds_.push_back(std::move(*pidfd));
    }
  }

  // Kills all, and reaps those whose parent died with them or is this process.
  void destroy() const {
    constexpr i64 kPatienceMs = 2000;
    constexpr timespec kPause = {.tv_sec = 0, .tv_nsec = 1'000'000};
    int was_reaper = 0;
    (void)::prctl(PR_GET_CHILD_SUBREAPER, &was_reaper, 0, 0, 0);
    (void)::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    for (const UniqueFd& pidfd : pidfds_) {
      // Fails only for who has gone already.
      (void)sys::pidfd_send_signal(pidfd.get(), SIGKILL);
    }
    const Deadline patience(kPatienceMs);
    for (const Pid pid : pids_) {
      while (proc::exists(pid) && !patience.passed()) {
        (void)::waitid(P_PID, static_cast<id_t>(pid), nullptr, WEXITED | WNOHANG | __WALL);
        if (proc::exists(pid)) (void)::nanosleep(&kPause, nullptr);
      }
    }
    (void)::prctl(PR_SET_CHILD_SUBREAPER, was_reaper, 0, 0, 0);
  }

 private:
  std::vector<Pid> pids_;
  std::vector<UniqueFd> pidfds_;
};

Result<void> check(const Result<int>& failed) {
  if (!failed) return failed.error();
  if (*failed == 0) return {};
  return fail(kRestartAborted,
              fmt::format("a callback of the program returned {} after the restart: everything "
                          "restarted has been killed",
                          *failed));
}

}  // namespace

Result<void> await_callbacks(const restart::Built& built, const Progress& progress,
                             std::vector<std::string>& notes) {
  if (built.blocks.empty()) return {};
  const Job job(built.pids);
  std::vector<notify::Restarted> processes;
  for (const restart::ParkedProcess& parked : built.blocks) {
    processes.push_back(
        {.pid = parked.pid, .block = parked.address, .memory = parked.memory.get()});
  }
  // They wait for us, so that the ids are still theirs.
  std::vector<Addressees> addressees(processes.size());
  for (size_t i = 0; i < processes.size(); ++i) {
    if (built.blocks[i].signal == 0) continue;
    if (auto added = addressees[i].add(processes[i].pid); !added) {
      job.destroy();
      return added;
    }
  }
  const auto failed = notify::await_restarted(
      processes,
      {.left_ms = {}, .cancelled = [&] { return progress && !progress(0, 0); }, .late = nullptr});
  if (auto checked = check(failed); !checked) {
    job.destroy();
    return checked;
  }
  for (size_t i = 0; i < processes.size(); ++i) {
    if (processes[i].gone) {
      notes.push_back(fmt::format("process {} ended while its callbacks ran after the restart",
                                  processes[i].pid));
    } else if (built.blocks[i].signal != 0) {
      TRY(send_signal(addressees[i], built.blocks[i].signal));
    }
  }
  return {};
}

}  // namespace stasis::engine
