// proc/status: literal texts of kernels 5.10 to 6.18, names that try to confuse, and ourselves.
#include "proc/status.h"

#include <doctest/doctest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>

#include "base/unique_fd.h"
#include "proc/maps.h"

using namespace stasis;

namespace {

constexpr const char* kStatus510 =
    "Name:\tredis-server\nUmask:\t0077\nState:\tS (sleeping)\nTgid:\t731\nNgid:\t0\nPid:\t731\n"
    "PPid:\t1\nTracerPid:\t0\nUid:\t105\t105\t105\t105\nGid:\t112\t112\t112\t112\nFDSize:\t64\n"
    "Groups:\t112 118 \nNStgid:\t731\nNSpid:\t731\nNSpgid:\t731\nNSsid:\t731\n"
    "VmPeak:\t   67740 kB\nVmSize:\t   67740 kB\nVmLck:\t     132 kB\nVmPin:\t       0 kB\n"
    "CoreDumping:\t0\nTHP_enabled:\t0\nThreads:\t5\nSigQ:\t0/15445\n"
    "SigPnd:\t0000000000000000\nShdPnd:\t0000000000000200\nSigBlk:\t0000000000000001\n"
    "SigIgn:\t0000000000001001\nSigCgt:\t00000001880044ea\nCapInh:\t0000000000000000\n"
    "CapPrm:\t0000000000000000\nCapEff:\t0000000000000000\nCapBnd:\t000001ffffffffff\n"
    "CapAmb:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t1\n"
    "Speculation_Store_Bypass:\tthread vulnerable\nCpus_allowed:\t3\nCpus_allowed_list:\t0-1\n"
    "Mems_allowed:\t00000000,00000001\nMems_allowed_list:\t0\nvoluntary_ctxt_switches:\t1842\n";

constexpr const char* kStatus612 =
    "Name:\tworker \\n (x)\nUmask:\t0022\nState:\tt (tracing stop)\nTgid:\t40\nNgid:\t0\nPid:\t42\n"
    "PPid:\t7\nTracerPid:\t99\nUid:\t1001\t1001\t1001\t1001\nGid:\t1001\t1001\t1001\t1001\n"
    "FDSize:\t64\nGroups:\t \nNStgid:\t40\t3\nNSpid:\t42\t5\nNSpgid:\t40\t3\nNSsid:\t40\t3\n"
    "Kthread:\t0\nVmLck:\t       0 kB\nTHP_enabled:\t1\nuntag_mask:\t0xffffffffffffffff\n"
    "Threads:\t3\nSigPnd:\t0000000000000000\nNoNewPrivs:\t0\nSeccomp:\t0\n"
    "x86_Thread_features:\tshstk wrss \nx86_Thread_features_locked:\tshstk wrss \n";

std::string stat_line(const std::string& name) {
  return "4711 (" + name +
         ") S 4710 4711 4711 34816 4711 4194304 129 0 1 0 0 0 0 0 20 -5 4 0 121969 2990080 387 "
         "18446744073709551615 94250176131072 94250176149001 140722699647056 0 0 0 0 6 0 1 0 0 17 "
         "1 "
         "0 0 0 0 0 94250176163088 94250176164352 94250573115392 140722699655620 140722699655630 "
         "140722699655630 140722699657193 0\n";
}

}  // namespace

TEST_CASE("status of Linux 5.10: no Kthread, no untag_mask, no thread features") {
  const auto status = proc::parse_status(kStatus510);
  REQUIRE(status.ok());
  CHECK(status->name == "redis-server");
  CHECK(status->state == 'S');
  CHECK(status->tgid == 731);
  CHECK(status->parent == 1);
  CHECK(status->uids == std::vector<u32>{105, 105, 105, 105});
  CHECK(status->groups == std::vector<u32>{112, 118});
  CHECK(status->namespace_pids == std::vector<Pid>{731});
  CHECK(status->umask == 077);
  CHECK(status->threads == 5);
  CHECK(status->shared_pending == 0x200);
  CHECK(status->caught == 0x1880044eaULL);
  CHECK(status->cap_bounding == 0x1ffffffffffULL);
  CHECK(status->no_new_privs);
  CHECK(status->seccomp == 2);
  CHECK(status->thread_features.empty());
  CHECK(status->locked_kb == 132);
  CHECK(!status->thp_enabled);
}

TEST_CASE("status of Linux 6.12: namespaces, tracer, shadow stacks, a name with a newline") {
  const auto status = proc::parse_status(kStatus612);
  REQUIRE(status.ok());
  CHECK(status->name == "worker \n (x)");
  CHECK(status->state == 't');
  CHECK(status->pid == 42);
  CHECK(status->tracer == 99);
  CHECK(status->groups.empty());
  CHECK(status->namespace_pids == std::vector<Pid>{42, 5});
  CHECK(status->thread_features == "shstk wrss");
  CHECK(status->thp_enabled);
}

TEST_CASE("a status that is no status is an error that quotes the line") {
  const auto bad = proc::parse_status("Pid:\t12x\n");
  REQUIRE(!bad);
  CHECK(bad.error().message() == "cannot understand /proc/PID/status: \"Pid:\t12x\"");
  CHECK(!proc::parse_status("").ok());
}

TEST_CASE("stat: names may hold blanks, parentheses, newlines and whole fake fields") {
  for (const std::string name : {"sleep", "a b", "x) R 1 2 (y", ")", "", "new\nline"}) {
    CAPTURE(name);
    const auto stat = proc::parse_stat(stat_line(name));
    REQUIRE(stat.ok());
    CHECK(stat->pid == 4711);
    CHECK(stat->name == name);
    CHECK(stat->state == 'S');
    CHECK(stat->parent == 4710);
    CHECK(stat->terminal == 34816);
    CHECK(stat->flags == 4194304);
    CHECK(stat->nice == -5);
    CHECK(stat->start_time_ticks == 121969);
    CHECK(stat->processor == 1);
    CHECK(stat->start_code.value == 94250176131072);
    CHECK(stat->start_brk.value == 94250573115392);
    CHECK(stat->env_end.value == 140722699657193);
  }
  CHECK(!proc::parse_stat("4711 (cut) S 1 2").ok());
  CHECK(!proc::parse_stat("nonsense").ok());
}

TEST_CASE("syscall: inside a call, running, stopped elsewhere") {
  const auto sleeping =
      proc::parse_syscall("230 0x0 0x1 0x7ffc8e863660 0x3 0x4 0x5 0x7ffc8e863648 0x7f84c6916503\n");
  REQUIRE(sleeping.ok());
  CHECK(!sleeping->running);
  CHECK(sleeping->number == 230);
  CHECK(sleeping->args[2] == 0x7ffc8e863660);
  CHECK(sleeping->args[5] == 5);
  CHECK(sleeping->pc.value == 0x7f84c6916503);
  CHECK(proc::parse_syscall("running\n")->running);
  const auto outside = proc::parse_syscall("-1 0x7ffc8e863648 0x7f84c6916503\n");
  REQUIRE(outside.ok());
  CHECK(outside->number == -1);
  CHECK(outside->sp.value == 0x7ffc8e863648);
  CHECK(!proc::parse_syscall("230 0x0\n").ok());
}

TEST_CASE("timers come ascending, with targets that are threads or the process") {
  const auto timers = proc::parse_timers(
      "ID: 7\nsignal: 35/000000000000004e\nnotify: signal/tid.7847\nClockID: 1\n"
      "ID: 0\nsignal: 14/00007fff12345678\nnotify: none/pid.7840\nClockID: 0\n");
  REQUIRE(timers.ok());
  REQUIRE(timers->size() == 2);
  CHECK(timers->at(0).id == 0);
  CHECK(timers->at(0).notify == SIGEV_NONE);
  CHECK(timers->at(0).target == 7840);
  CHECK(timers->at(0).value.value == 0x7fff12345678);
  CHECK(timers->at(1).notify == (SIGEV_SIGNAL | SIGEV_THREAD_ID));
  CHECK(timers->at(1).target == 7847);
  CHECK(timers->at(1).clock == 1);
  CHECK(proc::parse_timers("")->empty());
  CHECK(!proc::parse_timers("notify: signal/pid.1\n").ok());
}

TEST_CASE("our own process, as the running kernel tells it") {
  const Pid self = ::getpid();
  const auto status = proc::read_status(self, ::gettid());
  REQUIRE(status.ok());
  CHECK(status->tgid == self);
  const auto stat = proc::read_stat(self);
  REQUIRE(stat.ok());
  CHECK(stat->name == status->name);
  CHECK(stat->parent == ::getppid());
  CHECK(stat->start_stack);
  CHECK(!proc::read_syscall(self, self)->running);  // it is in read(2) of that very file
  CHECK(proc::read_timers(self)->empty());
  CHECK(proc::read_threads(self)->at(0) == self);
  CHECK(proc::read_personality(self).ok());
  CHECK(proc::read_oom_score_adj(self).ok());
  CHECK(proc::read_auxv(self)->size() % 16 == 0);
  CHECK(proc::exists(self));
  CHECK(proc::describe(self) == std::to_string(self) + " (" + stat->name + ")");
}

TEST_CASE("children include those that have exited and were not waited for") {
  const Pid child = ::fork();
  if (child == 0) ::_exit(0);
  siginfo_t info = {};
  REQUIRE(::waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT) == 0);
  const auto children = proc::read_children(::getpid());
  REQUIRE(children.ok());
  CHECK(std::find(children->begin(), children->end(), child) != children->end());
  CHECK(proc::read_status(child)->state == 'Z');
  ::waitpid(child, nullptr, 0);
  CHECK(!proc::exists(child));
  CHECK(proc::describe(child) == std::to_string(child));
}

TEST_CASE("what a time namespace adds to the clocks") {
  const auto offsets =
      proc::parse_time_offsets("monotonic      100000   500000000\nboottime     -5000  0\n");
  REQUIRE(offsets);
  CHECK(*offsets == proc::TimeOffsets{100'000'500'000'000, -5'000'000'000'000});
  CHECK(!proc::parse_time_offsets("monotonic what\n"));
}

TEST_CASE("an offset of a clock that nanoseconds cannot count is not understood") {
  CHECK(!proc::parse_time_offsets("monotonic 9223372037 0\n"));
  CHECK(!proc::parse_time_offsets("boottime -9223372037 0\n"));
  CHECK(!proc::parse_time_offsets("boottime 1 1000000000\n"));
  CHECK(!proc::parse_time_offsets("boottime 1 -1\n"));
}
