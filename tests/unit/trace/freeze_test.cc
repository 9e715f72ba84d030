// trace/freeze: the parts that touch no process: what stands in the way, and which calls need a
// look at when the thread fell asleep.
#include "trace/freeze.h"

#include <doctest/doctest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "trace/time_left.h"

using namespace stasis;

TEST_CASE("nothing stands in the way of a process of one's own") {
  CHECK(!trace::tracing_obstacle(::getpid()));
}

TEST_CASE("a process that does not exist is an obstacle of its own kind") {
  const auto obstacle = trace::tracing_obstacle(0x7ffffff0);
  REQUIRE(obstacle.has_value());
  CHECK(obstacle->code == ESRCH);
}

TEST_CASE("another user's process is named with its user") {
  if (::geteuid() == 0) {
    MESSAGE("skipped: root may trace everybody");
    return;
  }
  const auto obstacle = trace::tracing_obstacle(1);
  REQUIRE(obstacle.has_value());
  CHECK(obstacle->code == EPERM);
  CHECK(obstacle->hint.find("user 0") != std::string::npos);
}

TEST_CASE("only timeouts that the kernel does not report need the moment of falling asleep") {
  CHECK(trace::wants_sample(SYS_nanosleep, {100, 0}));
  CHECK(!trace::wants_sample(SYS_nanosleep, {100, 200}));
  CHECK(trace::wants_sample(SYS_poll, {0, 0, 10}));
  CHECK(trace::wants_sample(SYS_restart_syscall, {}));
  CHECK(!trace::wants_sample(SYS_read, {}));
}
