// trace/freeze and trace/remote_call on children of the test: every state a thread can be in, and
// that afterwards it is in it again.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>

#include "arch/call_class.h"
#include "children.h"
#include "proc/status.h"
#include "trace/freeze.h"
#include "trace/remote_call.h"

using namespace stasis;
using test::Child;
using test::eventually;
using test::Shared;

namespace {

constexpr i64 kLimitMs = 10'000;

Result<trace::Freeze> freeze(Pid pid, i64 limit_ms = kLimitMs) {
  return trace::Freeze::take(std::span(&pid, 1), limit_ms);
}

char state_of(Pid pid) {
  const auto status = proc::read_status(pid);
  return status.ok() ? status->state : '?';
}

// gettid inside a thread of a frozen process.
i64 ask_tid(trace::FrozenProcess& process, trace::FrozenThread& thread) {
  auto calls = trace::RemoteCalls::begin(process, thread);
  if (!calls.ok()) return -calls.error().code;
  const auto got = calls->call(SYS_gettid, {});
  if (!got.ok() || !calls->finish().ok()) return -1;
  return *got;
}

bool sleeps_in(Pid pid, i64 number) {
  return eventually([&] {
    const auto call = proc::read_syscall(pid, pid);
    return call.ok() && !call->running && call->number == number;
  });
}

void sleep_for(Shared& shared, i64 ms, bool with_remainder) {
  const timespec wanted = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1'000'000};
  timespec left = {};
  shared.ready = 1;
  if (::syscall(SYS_nanosleep, &wanted, with_remainder ? &left : nullptr) != 0) shared.wrong = 1;
  shared.count = 1;
  for (;;) ::pause();
}

}  // namespace

TEST_CASE("a process is stopped, asked and let go") {
  Child child([](Shared& shared) {
    for (;; ++shared.count) shared.ready = 1;
  });
  REQUIRE(eventually([&] { return child.shared().count > 0; }));
  auto frozen = freeze(child.pid());
  REQUIRE_MESSAGE(frozen.ok(), frozen.error().message());
  trace::FrozenProcess& process = frozen->processes().at(0);
  const u64 count = child.shared().count;
  CHECK(ask_tid(process, process.threads.at(0)) == child.pid());
  CHECK(child.shared().count == count);
  CHECK(frozen->thaw().ok());
  CHECK(frozen->pause_us() > 0);
  CHECK(eventually([&] { return child.shared().count > count; }));
}

TEST_CASE("a process frozen twice in one sleep sleeps on and its call is known") {
  Child child([](Shared& shared) { sleep_for(shared, 3000, false); });
  REQUIRE(sleeps_in(child.pid(), SYS_nanosleep));
  for (int round = 0; round < 4; ++round) {
    auto frozen = freeze(child.pid());
    REQUIRE(frozen.ok());
    trace::FrozenProcess& process = frozen->processes().at(0);
    trace::FrozenThread& thread = process.threads.at(0);
    CHECK(thread.interrupted_call == SYS_nanosleep);
    CHECK(arch::is_restart_call(arch::call_number(thread.registers)) == (round > 0));
    CHECK(thread.remaining_ns > 0);
    CHECK(thread.remaining_ns < 3'000'000'000);
    CHECK(ask_tid(process, thread) == child.pid());
    CHECK(frozen->thaw().ok());
    REQUIRE(sleeps_in(child.pid(), SYS_restart_syscall));
  }
  CHECK(eventually([&] { return child.shared().count == 1; }));
  CHECK(child.shared().wrong == 0);
}

TEST_CASE("the time left is what the kernel says where the program asked for it") {
  Child child([](Shared& shared) { sleep_for(shared, 60'000, true); });
  REQUIRE(sleeps_in(child.pid(), SYS_nanosleep));
  auto frozen = freeze(child.pid());
  REQUIRE(frozen.ok());
  const i64 left = frozen->processes().at(0).threads.at(0).remaining_ns;
  CHECK(left > 0);
  CHECK(left < 60'000'000'000);
}

TEST_CASE("epoll_wait does not notice") {
  Child child([](Shared& shared) {
    const int fd = ::epoll_create1(0);
    epoll_event event = {};
    shared.ready = 1;
    if (::epoll_wait(fd, &event, 1, -1) != 0 || errno != 0) shared.wrong = 1;
    shared.count = 1;
  });
  REQUIRE(sleeps_in(child.pid(), SYS_epoll_wait));
  for (int round = 0; round < 20; ++round) {
    auto frozen = freeze(child.pid());
    REQUIRE(frozen.ok());
    trace::FrozenProcess& process = frozen->processes().at(0);
    CHECK(arch::result(process.threads.at(0).registers) == arch::kRestartNoHand);
    CHECK(ask_tid(process, process.threads.at(0)) == child.pid());
    CHECK(frozen->thaw().ok());
    REQUIRE(sleeps_in(child.pid(), SYS_epoll_wait));
  }
  CHECK(child.shared().count == 0);
}

TEST_CASE("a stopped process is known to be stopped and stays it") {
  Child child([](Shared& shared) {
    for (;; ++shared.count) shared.ready = 1;
  });
  REQUIRE(eventually([&] { return child.shared().count > 0; }));
  REQUIRE(::kill(child.pid(), SIGSTOP) == 0);
  REQUIRE(eventually([&] { return state_of(child.pid()) == 'T'; }));
  {
    auto frozen = freeze(child.pid());
    REQUIRE(frozen.ok());
    trace::FrozenProcess& process = frozen->processes().at(0);
    CHECK(process.stopped);
    CHECK(ask_tid(process, process.threads.at(0)) == child.pid());
  }
  CHECK(eventually([&] { return state_of(child.pid()) == 'T'; }));
  const u64 count = child.shared().count;
  REQUIRE(::kill(child.pid(), SIGCONT) == 0);
  CHECK(eventually([&] { return child.shared().count > count; }));
}

TEST_CASE("a process whose leader has exited is frozen by its other threads") {
  Child child([](Shared& shared) {
    pthread_t thread;
    const auto run = [](void* argument) -> void* {
      auto* mine = static_cast<Shared*>(argument);
      for (;; ++mine->count) mine->ready = 1;
    };
    ::pthread_create(&thread, nullptr, run, &shared);
    ::syscall(SYS_exit, 0);
  });
  REQUIRE(eventually([&] { return state_of(child.pid()) == 'Z'; }));
  auto frozen = freeze(child.pid());
  REQUIRE_MESSAGE(frozen.ok(), frozen.error().message());
  trace::FrozenProcess& process = frozen->processes().at(0);
  REQUIRE(process.threads.size() == 2);
  CHECK(process.threads[0].zombie);
  CHECK(process.any_live_tid() == process.threads[1].tid);
  CHECK(ask_tid(process, process.threads[1]) == process.threads[1].tid);
  CHECK(ask_tid(process, process.threads[0]) == -EOPNOTSUPP);
}

TEST_CASE("threads that come and go meanwhile are all held, and all live on") {
  Child child([](Shared& shared) {
    const auto run = [](void* argument) -> void* {
      ++static_cast<Shared*>(argument)->count;
      return nullptr;
    };
    for (;;) {
      pthread_t threads[8];
      for (pthread_t& thread : threads) ::pthread_create(&thread, nullptr, run, &shared);
      for (pthread_t& thread : threads) ::pthread_join(thread, nullptr);
    }
  });
  REQUIRE(eventually([&] { return child.shared().count > 100; }));
  for (int round = 0; round < 50; ++round) {
    auto frozen = freeze(child.pid());
    REQUIRE_MESSAGE(frozen.ok(), frozen.error().message());
    trace::FrozenProcess& process = frozen->processes().at(0);
    const auto status = proc::read_status(child.pid());
    CHECK(status->threads == process.threads.size());
    CHECK(process.threads.at(0).tid == child.pid());
    const u64 count = child.shared().count;
    for (trace::FrozenThread& thread : process.threads) {
      CHECK(ask_tid(process, thread) == thread.tid);
    }
    CHECK(child.shared().count == count);
    CHECK(frozen->thaw().ok());
    CHECK(eventually([&] { return child.shared().count > count + 8; }));
  }
}

TEST_CASE("processes born meanwhile are let go") {
  Child child([](Shared& shared) {
    for (;;) {
      const Pid born = ::fork();
      if (born == 0) ::_exit(7);
      int status = 0;
      if (::waitpid(born, &status, 0) != born || WEXITSTATUS(status) != 7) ++shared.wrong;
      ++shared.count;
    }
  });
  REQUIRE(eventually([&] { return child.shared().count > 10; }));
  for (int round = 0; round < 50; ++round) {
    auto frozen = freeze(child.pid());
    REQUIRE_MESSAGE(frozen.ok(), frozen.error().message());
    CHECK(frozen->thaw().ok());
    const u64 count = child.shared().count;
    REQUIRE(eventually([&] { return child.shared().count > count + 2; }));
  }
  CHECK(child.shared().wrong == 0);
}

TEST_CASE("several processes are frozen together") {
  const auto count = [](Shared& shared) {
    for (;; ++shared.count) shared.ready = 1;
  };
  Child first(count);
  Child second(count);
  const Pid pids[] = {first.pid(), second.pid()};
  REQUIRE(eventually([&] { return first.shared().count > 0 && second.shared().count > 0; }));
  auto frozen = trace::Freeze::take(pids, kLimitMs);
  REQUIRE(frozen.ok());
  REQUIRE(frozen->processes().size() == 2);
  const u64 before[] = {first.shared().count, second.shared().count};
  CHECK(ask_tid(frozen->processes()[1], frozen->processes()[1].threads[0]) == second.pid());
  CHECK(first.shared().count == before[0]);
  CHECK(second.shared().count == before[1]);
  CHECK(frozen->thaw().ok());
  CHECK(eventually([&] { return first.shared().count > before[0]; }));
  CHECK(eventually([&] { return second.shared().count > before[1]; }));
}

TEST_CASE("a process killed while frozen is told, and its parent hears of it") {
  Child child([](Shared& shared) {
    for (;; ++shared.count) shared.ready = 1;
  });
  REQUIRE(eventually([&] { return child.shared().count > 0; }));
  auto frozen = freeze(child.pid());
  REQUIRE(frozen.ok());
  trace::FrozenProcess& process = frozen->processes().at(0);
  auto calls = trace::RemoteCalls::begin(process, process.threads.at(0));
  REQUIRE(calls.ok());
  REQUIRE(::kill(child.pid(), SIGKILL) == 0);
  CHECK(calls->call(SYS_gettid, {}).error().code == ESRCH);
  const auto thawed = frozen->thaw();
  REQUIRE(!thawed);
  CHECK(thawed.error().code == ESRCH);
  int status = 0;
  CHECK(::waitpid(child.pid(), &status, 0) == child.pid());
  CHECK(WIFSIGNALED(status));
}

TEST_CASE("an uninterruptible process is named when the time is over, and runs on") {
  Child child([](Shared& shared) {
    shared.ready = 1;
    const Pid born = ::vfork();  // the parent waits in state D
    if (born == 0) {
      while (shared.stop == 0) test::nap();
      ::_exit(0);
    }
    shared.count = 1;
    for (;;) ::pause();
  });
  REQUIRE(eventually([&] { return state_of(child.pid()) == 'D'; }));
  const auto frozen = freeze(child.pid(), 50);
  REQUIRE(!frozen);
  CHECK(frozen.error().code == ETIMEDOUT);
  CHECK(frozen.error().message().find("waits in vfork(2) for process") != std::string::npos);
  child.shared().stop = 1;
  // The kernel lets go of what could not be stopped only at our end or at the next try.
  CHECK(eventually([&] { return child.shared().count == 1 || freeze(child.pid(), 100).ok(); }));
  CHECK(eventually([&] { return child.shared().count == 1; }));
}

TEST_CASE("a seccomp filter is a reason not to begin") {
  Child child([](Shared& shared) {
    ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    sock_filter allow = {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW};
    sock_fprog program = {1, &allow};
    shared.value = static_cast<u64>(::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
    for (;; ++shared.count) shared.ready = 1;
  });
  REQUIRE(eventually([&] { return child.shared().count > 0; }));
  const auto frozen = freeze(child.pid());
  REQUIRE(!frozen);
  CHECK(frozen.error().code == EOPNOTSUPP);
  CHECK(frozen.error().message().find("seccomp") != std::string::npos);
  CHECK(proc::read_status(child.pid())->tracer == 0);
}

TEST_CASE("a process that has another tracer is refused with its name") {
  Child child([](Shared& shared) {
    shared.ready = 1;
    for (;;) ::pause();
  });
  REQUIRE(eventually([&] { return child.shared().ready == 1; }));
  int tell[2];
  REQUIRE(::pipe(tell) == 0);
  const Pid tracer = ::fork();
  if (tracer == 0) {
    const char ok = ::ptrace(PTRACE_SEIZE, child.pid(), 0, 0) == 0 ? 'y' : 'n';
    (void)!::write(tell[1], &ok, 1);
    for (;;) ::pause();
  }
  char answer = 0;
  REQUIRE(::read(tell[0], &answer, 1) == 1);
  REQUIRE(answer == 'y');
  const auto frozen = freeze(child.pid());
  CHECK(frozen.error().code == kPtraced);
  CHECK(frozen.error().message().find(std::to_string(tracer)) != std::string::npos);
  (void)::kill(tracer, SIGKILL);
  (void)::waitpid(tracer, nullptr, 0);
}
