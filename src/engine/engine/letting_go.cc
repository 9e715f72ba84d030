// Killed processes whose parent died with them are reaped by init, usually at once. The others'
// parents reap them when they please, which is not ours to wait for.
#include "engine/letting_go.h"

#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>

#include <cerrno>
#include <cstdlib>

#include "base/sys.h"
#include "engine/deadline.h"
#include "proc/status.h"

namespace stasis::engine {

Result<void> Addressees::add(Pid pid) {
  auto pidfd = sys::pidfd_open(pid);
  if (!pidfd && pidfd.error().code == ESRCH) return {};
  pidfds_.push_back(TRY(std::move(pidfd)));
  const auto stat = proc::read_stat(pid);
  if (stat.ok() && pids_.contains(stat->parent)) orphans_.push_back(pid);
  pids_.insert(pid);
  return {};
}

Result<void> Addressees::send(int signal) const {
  if (signal == 0) return {};
  for (const UniqueFd& pidfd : pidfds_) {
    const auto sent = sys::pidfd_send_signal(pidfd.get(), std::abs(signal));
    if (!sent && sent.error().code != ESRCH) return sent.error();
  }
  return {};
}

void Addressees::await_death() const {
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

Result<void> thaw_with_signal(trace::Freeze& freeze, const Addressees& addressees, int signal) {
  TRY(addressees.send(signal));
  auto thawed = freeze.thaw();
  if (std::abs(signal) != SIGKILL || addressees.empty()) return thawed;
  // That they are dead was wanted.
  addressees.await_death();
  return {};
}

Result<void> send_signal(const Addressees& addressees, int signal) {
  TRY(addressees.send(signal));
  if (std::abs(signal) == SIGKILL) addressees.await_death();
  return {};
}

}  // namespace stasis::engine
