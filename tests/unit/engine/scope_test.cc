// engine/scope: trees, groups and zombies of processes that this test makes; we ourselves are never
// members.
#include "engine/scope.h"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>

using namespace stasis;
using engine::Scope;

namespace {

// A child, a grandchild and a zombie of the child, all in the child's group; ended by the
// destructor.
class Family {
 public:
  Family() {
    int ready[2];
    REQUIRE(::pipe(ready) == 0);
    child_ = ::fork();
    REQUIRE(child_ >= 0);
    if (child_ == 0) live(ready[1]);
    ::close(ready[1]);
    pid_t below[2] = {};
    REQUIRE(::read(ready[0], below, sizeof below) == sizeof below);
    ::close(ready[0]);
    grandchild_ = below[0];
    zombie_ = below[1];
  }
  ~Family() {
    (void)::kill(-child_, SIGKILL);
    (void)::waitpid(child_, nullptr, 0);
  }

  Pid child_ = 0, grandchild_ = 0, zombie_ = 0;

 private:
  [[noreturn]] static void live(int ready) {
    (void)::setpgid(0, 0);
    pid_t below[2] = {};
    below[0] = ::fork();
    if (below[0] == 0) {
      for (;;) ::pause();
    }
    below[1] = ::fork();
    if (below[1] == 0) ::_exit(3);
    siginfo_t info;
    (void)::waitid(P_PID, static_cast<id_t>(below[1]), &info, WEXITED | WNOWAIT);
    if (::write(ready, below, sizeof below) != sizeof below) ::_exit(1);
    for (;;) ::pause();
  }
};

}  // namespace

TEST_CASE("a tree is the target and all below it, parents first; zombies are listed apart") {
  const Family family;
  const auto found = engine::find_scope(family.child_, Scope::kTree);
  REQUIRE(found.ok());
  CHECK(found->pids == std::vector<Pid>{family.child_, family.grandchild_});
  CHECK(found->zombies == std::vector<Pid>{family.zombie_});
}

TEST_CASE("a group has its members and not the one that asks") {
  const Family family;
  const auto found = engine::find_scope(family.child_, Scope::kGroup);
  REQUIRE(found.ok());
  CHECK(found->pids == std::vector<Pid>{family.child_, family.grandchild_});
  CHECK(found->zombies == std::vector<Pid>{family.zombie_});
  const auto ours = engine::find_scope(::getsid(0), Scope::kSession);
  if (ours.ok()) {
    CHECK(std::ranges::find(ours->pids, ::getpid()) == ours->pids.end());
    CHECK(std::ranges::find(ours->pids, family.child_) != ours->pids.end());
  }
}

TEST_CASE("a single process has no company") {
  const Family family;
  const auto found = engine::scope_members(family.child_, Scope::kProcess);
  REQUIRE(found.ok());
  CHECK(*found == std::vector<Pid>{family.child_});
}

TEST_CASE("nobody: what does not exist, what has exited, and ourselves") {
  const Family family;
  const Pid none = 0x7ffffff0;
  for (const Scope scope : {Scope::kProcess, Scope::kTree, Scope::kGroup, Scope::kSession}) {
    const auto found = engine::find_scope(none, scope);
    REQUIRE(!found.ok());
    CHECK(found.error().code == ESRCH);
  }
  CHECK(engine::find_scope(family.zombie_, Scope::kTree).error().code == ESRCH);
  CHECK(engine::find_scope(::getpid(), Scope::kProcess).error().code == ESRCH);
}

TEST_CASE("a kernel thread cannot be traced, and is named") {
  if (::geteuid() != 0) return;
  const auto traceable = engine::check_traceable({2});
  if (traceable.ok()) return;  // a pid namespace has none
  CHECK(traceable.error().code == EPERM);
}
