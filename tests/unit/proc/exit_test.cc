// proc/exit: the two fields, behind a name that tries to confuse, and a zombie of our own.
#include "proc/exit.h"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace stasis;

TEST_CASE("exit signal and wait status are fields 38 and 52") {
  std::string text = "7 (a) b 1 2) Z";
  for (int field = 4; field <= 52; ++field) text += " " + std::to_string(field);
  const auto facts = proc::parse_exit(text + "\n");
  REQUIRE(facts.ok());
  CHECK(facts->exit_signal == 38);
  CHECK(facts->wait_status == 52);
  CHECK(!proc::parse_exit("7 (short) Z 1 2 3\n").ok());
  CHECK(!proc::parse_exit("nothing").ok());
}

TEST_CASE("a zombie tells how it ended") {
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) ::_exit(7);
  siginfo_t info;
  REQUIRE(::waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT) == 0);
  const auto facts = proc::read_exit(child);
  REQUIRE(facts.ok());
  CHECK(facts->exit_signal == SIGCHLD);
  CHECK(facts->wait_status == 7 << 8);
  (void)::waitpid(child, nullptr, 0);
}
