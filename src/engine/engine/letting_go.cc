// Killed processes whose parent died with them are reaped by init, usually at once. The others'
// parents reap them when they please, which is not ours to wait for.
#include "engine/letting_go.h"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <time.h>

#include <cerrno>
#include <cstdlib>
#include <set>

#include "base/sys.h"
#include "engine/deadline.h"
#include "proc/status.h"

namespace stasis::engine {
namespace {

// Processes that are about to be killed.
class Condemned {
 public:
  Result<void> add(Pid pid) {
    const auto stat = proc::read_stat(pid);
    if (stat.ok() && pids_.contains(stat->parent)) orphans_.push_back(pid);
    pids_.insert(pid);
    pidfds_.push_back(TRY(sys::pidfd_open(pid)));
    return {};
  }
  void await_death() const {
    constexpr i64 kPatienceMs = 2000;
    constexpr timespec kPause = {.tv_sec = 0, .tv_nsec = 1'000'000};
    const Deadline patience(kPatienceMs);
    for (const UniqueFd& pidfd : pidfds_) {
      pollfd wait = {.fd = pidfd.get(), .events = POLLIN, .revents = 0};
      // Late is no failure: the signal has been sent.
      (void)::poll(&wait, 1, static_cast<int>(patience.left_ms()));
    }
    for (const Pid pid : orphans_) {
      while (proc::exists(pid) && !patience.passed()) (void)::nanosleep(&kPause, nullptr);
    }
  }

 private:
  std::vector<UniqueFd> pidfds_;
  std::vector<Pid> orphans_;
  std::set<Pid> pids_;
};

Result<void> send(Pid pid, int signal) {
  TRY(sys::check(::kill(pid, signal), "send the signal to", fmt::format("process {}", pid)));
  return {};
}

}  // namespace

Result<void> thaw_with_signal(trace::Freeze& freeze, const std::vector<Pid>& pids, int signal) {
  if (signal == 0 || pids.empty()) return freeze.thaw();
  signal = std::abs(signal);
  Condemned condemned;
  for (const Pid pid : pids) {
    if (signal == SIGKILL) TRY(condemned.add(pid));
    TRY(send(pid, signal));
  }
  auto thawed = freeze.thaw();
  if (signal != SIGKILL) return thawed;
  // That they are dead was wanted.
  condemned.await_death();
  return {};
}

Result<void> send_signal(const std::vector<Pid>& pids, int signal) {
  Condemned condemned;
  for (const Pid pid : pids) {
    if (!proc::exists(pid)) continue;
    if (signal == SIGKILL) {
      if (auto added = condemned.add(pid); !added && added.error().code != ESRCH) return added;
    }
    auto sent = send(pid, signal);
    if (!sent && sent.error().code != ESRCH) return sent;
  }
  condemned.await_death();
  return {};
}

}  // namespace stasis::engine
