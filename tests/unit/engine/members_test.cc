// engine/members: a process that a restart still holds is waited for, but not for ever. The restart
// is played by a child that claims itself, as a restart does, and traces the process in question.
#include "engine/members.h"

#include <doctest/doctest.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "notify/notify.h"

using namespace stasis;
using namespace stasis::engine;

namespace {

class Restart {
 public:
  Restart() {
    int ready[2], over[2], over_done[2];
    REQUIRE((::pipe(ready) == 0 && ::pipe(over) == 0 && ::pipe(over_done) == 0));
    tracer_ = ::fork();
    REQUIRE(tracer_ >= 0);
    if (tracer_ == 0) {
      ::close(over[1]);
      live(ready[1], over[0], over_done[1]);
    }
    over_ = UniqueFd(over[1]);
    done_ = UniqueFd(over_done[0]);
    ::close(ready[1]);
    ::close(over[0]);
    ::close(over_done[1]);
    REQUIRE(::read(ready[0], &traced_, sizeof traced_) == sizeof traced_);
    ::close(ready[0]);
  }
  ~Restart() {
    (void)::kill(traced_, SIGKILL);
    (void)::kill(tracer_, SIGKILL);
    (void)::waitpid(tracer_, nullptr, 0);
  }

  // Lets the process go, and returns when that is so.
  void end() {
    over_.reset();
    char none = 0;
    CHECK(::read(done_.get(), &none, 1) == 1);
  }

  Pid traced_ = 0;

 private:
  [[noreturn]] static void live(int ready, int over, int done) {
    const Pid self = ::getpid();
    const auto claim = notify::Claim::take(std::span(&self, 1));
    const pid_t traced = ::fork();
    if (traced == 0) {
      for (;;) ::pause();
    }
    const bool seized = ::ptrace(PTRACE_SEIZE, traced, nullptr, nullptr) == 0;
    if (!claim || !seized || ::write(ready, &traced, sizeof traced) != sizeof traced) ::_exit(1);
    char none = 0;
    if (::read(over, &none, 1) != 0) ::_exit(1);
    // Only a stopped process can be detached.
    (void)::ptrace(PTRACE_INTERRUPT, traced, nullptr, nullptr);
    (void)::waitpid(traced, nullptr, __WALL);
    (void)::ptrace(PTRACE_DETACH, traced, nullptr, nullptr);
    if (::write(done, &none, 1) != 1) ::_exit(1);
    for (;;) ::pause();
  }

  Pid tracer_ = 0;
  UniqueFd over_, done_;
};

Result<void> ask(const Restart& restart, CheckpointRequest& request, i64 limit_ms = -1) {
  request.target = restart.traced_;
  request.scope = Scope::kProcess;
  Members members(request.target, request.scope);
  return apply_tracer_rules(request, members, Deadline(limit_ms));
}

}  // namespace

TEST_CASE("a restart that is still at work is waited for, and the wait ends with it") {
  Restart restart;
  CheckpointRequest request;
  int waited = 0;
  request.accepted = [&](const std::vector<Pid>&) {
    if (++waited == 3) restart.end();
  };
  const auto passed = ask(restart, request);
  CHECK_MESSAGE(passed.ok(), passed.error().message());
  CHECK(waited == 3);  // and not a moment longer
}

TEST_CASE("a restart that does not end is EBUSY after two seconds, or when the time is up") {
  Restart restart;
  CheckpointRequest request;
  const Deadline clock(60'000);
  const auto late = ask(restart, request, 100);
  REQUIRE(!late.ok());
  CHECK(late.error().code == EBUSY);
  CHECK(clock.passed_us() < 1'900'000);
  const Deadline second(60'000);
  const auto busy = ask(restart, request);
  REQUIRE(!busy.ok());
  CHECK(busy.error().code == EBUSY);
  CHECK(busy.error().message().find("is being restarted by process") != std::string::npos);
  CHECK(second.passed_us() >= 2'000'000);
}
