// proc/limits: lines in the order of RLIMIT_*, columns of fixed width.
#include <doctest/doctest.h>
#include <sys/resource.h>
#include <unistd.h>

#include "proc/status.h"

using namespace stasis;

TEST_CASE("limits come by number, unlimited as all ones") {
  const auto limits = proc::parse_limits(
      "Limit                     Soft Limit           Hard Limit           Units     \n"
      "Max cpu time              unlimited            unlimited            seconds   \n"
      "Max file size             4096                 unlimited            bytes     \n");
  REQUIRE(limits.ok());
  REQUIRE(limits->size() == 2);
  CHECK(limits->at(0).soft == ~u64{0});
  CHECK(limits->at(RLIMIT_FSIZE).soft == 4096);
  CHECK(limits->at(RLIMIT_FSIZE).hard == ~u64{0});
}

TEST_CASE("a line without its columns is an error that quotes it") {
  const auto limits = proc::parse_limits("Limit\nMax cpu time\n");
  REQUIRE(!limits);
  CHECK(limits.error().message().find("Max cpu time") != std::string::npos);
}

TEST_CASE("the file says what getrlimit says") {
  const auto limits = proc::read_limits(::getpid());
  REQUIRE(limits.ok());
  REQUIRE(limits->size() == RLIM_NLIMITS);
  rlimit own = {};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &own) == 0);
  CHECK(limits->at(RLIMIT_NOFILE).soft == own.rlim_cur);
  CHECK(limits->at(RLIMIT_NOFILE).hard == own.rlim_max);
}
