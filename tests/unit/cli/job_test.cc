// cli/job: hooks, waiting for a child, passing signals on. The children are forks of this test.
#include "job.h"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace stasis;
using namespace stasis::cli;

namespace {

// A child that ends with 7 when SIGUSR1 comes. Nothing can be lost: the signal is blocked first.
Pid child_that_waits_for_usr1() {
  const Pid child = ::fork();
  if (child != 0) return child;
  sigset_t set;
  ::sigemptyset(&set);
  ::sigaddset(&set, SIGUSR1);
  ::sigprocmask(SIG_BLOCK, &set, nullptr);
  int got = 0;
  ::sigwait(&set, &got);
  ::_exit(got == SIGUSR1 ? 7 : 8);
}

}  // namespace

TEST_CASE("a hook runs in a shell with no signal blocked, and its exit code comes back") {
  CHECK(run_hook("exit 3") == 3);
  CHECK(run_hook("true") == 0);
  CHECK(run_hook("kill -TERM $$") == 128 + SIGTERM);
}

TEST_CASE("signals that come before and while waiting are passed on, and the end is told") {
  sigset_t before;
  ::pthread_sigmask(SIG_SETMASK, nullptr, &before);
  {
    JobSignals signals;
    const Pid child = child_that_waits_for_usr1();
    CHECK(signals.cancel_requested() == 0);
    const Pid sender = ::fork();
    if (sender == 0) {
      ::kill(::getppid(), SIGUSR1);
      ::_exit(0);
    }
    const auto status = signals.wait_for(child);
    REQUIRE(status.ok());
    CHECK(WIFEXITED(*status));
    CHECK(WEXITSTATUS(*status) == 7);
    ::waitpid(sender, nullptr, 0);
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}
