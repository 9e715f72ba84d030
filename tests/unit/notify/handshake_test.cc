// notify/: the engine's side of the handshake, with children that have a hand-made control block.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cerrno>

#include "base/sys.h"
#include "fake_libcr.h"
#include "notify/notify.h"
#include "proc/status.h"

using namespace stasis;
using notify::Handshake;
using test::Child;
using test::eventually;
using test::Shared;

namespace {

constexpr i64 kLimitMs = 10'000;

i64 now_ms() {
  timespec now = {};
  (void)::clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000 + now.tv_nsec / 1'000'000;
}

notify::Terms within(i64 limit_ms, std::vector<notify::LateThread>* late = nullptr) {
  const i64 end = now_ms() + limit_ms;
  return {
      .left_ms = [end] { return std::max<i64>(0, end - now_ms()); }, .cancelled = {}, .late = late};
}

Result<Handshake> gather(std::initializer_list<Pid> pids, notify::Terms terms = within(kLimitMs)) {
  return Handshake::gather(std::span(pids.begin(), pids.size()), {.requester = ::getpid()},
                           std::move(terms));
}

// Freezes, sees that all are parked, tells, lets go and waits for the end.
Result<int> finish(Handshake& handshake, std::initializer_list<Pid> pids) {
  for (int round = 0; round < 100; ++round) {
    auto freeze = TRY(trace::Freeze::take(std::span(pids.begin(), pids.size()), kLimitMs));
    if (!TRY(handshake.is_settled(freeze))) {
      TRY(freeze.thaw());
      TRY(handshake.settle());
      continue;
    }
    TRY(handshake.end_signal_waits(freeze));
    TRY(handshake.tell_success());
    TRY(freeze.thaw());
    return handshake.await_idle();
  }
  return fail(EPROTO, "never settled");
}

void checkpoint_well(Pid pid) {
  auto gathered = gather({pid});
  REQUIRE_MESSAGE(gathered.ok(), gathered.error().message());
  CHECK(gathered->takes_part(pid));
  const auto finished = finish(*gathered, {pid});
  REQUIRE_MESSAGE(finished.ok(), finished.error().message());
  CHECK(*finished == 0);
}

template <int kAnswer>
void run_with_answer(Shared& shared) {
  test::make_block(shared);
  test::start_threads(3);
  test::start_callbacks([] { return kAnswer; });
  shared.ready = 1;
  for (;;) ::pause();
}

void until_ready(Child& child) {
  REQUIRE(eventually([&] { return child.shared().ready == 1; }));
}

}  // namespace

TEST_CASE("a block is found, a copy of it in a child is not") {
  Child child([](Shared& shared) {
    test::make_block(shared);
    const Pid copy = ::fork();
    if (copy == 0) {
      for (;;) ::pause();
    }
    shared.value = static_cast<u64>(copy);
    shared.ready = 1;
    for (;;) ::pause();
  });
  until_ready(child);
  const Pid copy = static_cast<Pid>(child.shared().value);
  const std::vector<Pid> pids = {child.pid(), copy, ::getpid()};
  const auto blocks = notify::find_blocks(pids);
  REQUIRE(blocks.size() == 1);
  CHECK(blocks[0].pid == child.pid());
  CHECK(blocks[0].kind == CRI_KIND_FULL);
  CHECK(!blocks[0].takes_part);
  (void)::kill(copy, SIGKILL);
}

TEST_CASE("a claimed process is busy, until the claim ends") {
  Child child([](Shared&) {
    for (;;) ::pause();
  });
  const Pid pid = child.pid();
  {
    const auto claim = notify::Claim::take(std::span(&pid, 1));
    REQUIRE(claim.ok());
    const auto second = notify::Claim::take(std::span(&pid, 1));
    REQUIRE(!second.ok());
    CHECK(second.error().code == EBUSY);
    CHECK(second.error().message().find(std::to_string(pid)) != std::string::npos);
  }
  CHECK(notify::Claim::take(std::span(&pid, 1)).ok());
}

TEST_CASE("a process without registrations goes on without a word") {
  Child child([](Shared& shared) {
    test::make_block(shared);
    shared.ready = 1;
    ::pause();
    shared.count = 1;
    for (;;) ::pause();
  });
  until_ready(child);
  auto gathered = gather({child.pid()});
  REQUIRE(gathered.ok());
  CHECK(!gathered->anybody());
  REQUIRE(eventually([&] {
    const auto call = proc::read_syscall(child.pid(), child.pid());
    return call.ok() && call->number == SYS_pause;
  }));
  const auto finished = finish(*gathered, {child.pid()});
  CHECK(finished.ok());
  // ... but pause(2) returns.
  CHECK(eventually([&] { return child.shared().count == 1; }));
}

TEST_CASE("callbacks run, all threads park, and go on") {
  Child child(run_with_answer<0>);
  until_ready(child);
  for (u64 round = 1; round <= 20; ++round) {
    checkpoint_well(child.pid());
    CHECK(child.shared().value == CRI_VERDICT_CONTINUE);
    CHECK(child.shared().count == round * 5);  // main, three threads, the callback
  }
}

TEST_CASE("hooks without a callback thread, and threads that come and go") {
  Child child([](Shared& shared) {
    test::make_block(shared);
    test::fake.block->registered = 1;
    shared.ready = 1;
    for (;;) std::thread([] { test::nap(); }).join();
  });
  until_ready(child);
  for (int round = 0; round < 50; ++round) checkpoint_well(child.pid());
}

TEST_CASE("a refusal for now ends the request, and everybody goes on") {
  Child child(run_with_answer<1>), other(run_with_answer<0>);
  until_ready(child);
  until_ready(other);
  const auto gathered = gather({child.pid(), other.pid()});
  REQUIRE(!gathered.ok());
  CHECK(gathered.error().code == kTempFail);
  CHECK(child.shared().value == CRI_VERDICT_ABORT);
  checkpoint_well(other.pid());
}

TEST_CASE("a code of the program's own is the code of the error") {
  Child child(run_with_answer<1 | (77 << 16)>);
  until_ready(child);
  const auto gathered = gather({child.pid()});
  REQUIRE(!gathered.ok());
  CHECK(gathered.error().code == 77);
}

TEST_CASE("a refusal for good kills all processes of the request") {
  Child child(run_with_answer<2>), other(run_with_answer<0>);
  until_ready(child);
  until_ready(other);
  const auto gathered = gather({child.pid(), other.pid()});
  REQUIRE(!gathered.ok());
  CHECK(gathered.error().code == kPermFail);
  for (const Pid pid : {child.pid(), other.pid()}) {
    siginfo_t end = {};
    REQUIRE(::waitid(P_PID, static_cast<id_t>(pid), &end, WEXITED | WNOWAIT) == 0);
    CHECK(end.si_status == SIGKILL);
  }
}

TEST_CASE("a process that leaves itself out is told so") {
  Child child(run_with_answer<4>);
  until_ready(child);
  auto gathered = gather({child.pid()});
  REQUIRE(gathered.ok());
  CHECK(gathered->omitted() == std::vector<Pid>{child.pid()});
  CHECK(!gathered->takes_part(child.pid()));
  CHECK(finish(*gathered, {child.pid()}).ok());
  CHECK(child.shared().value == CRI_VERDICT_OMITTED);
}

TEST_CASE("who does not arrive in time is named, and may be late") {
  Child child([](Shared& shared) {
    test::make_block(shared);
    test::start_callbacks([] {
      while (test::fake.shared->stop == 0) test::nap();
      return 0;
    });
    shared.ready = 1;
    for (;;) ::pause();
  });
  until_ready(child);
  std::vector<notify::LateThread> late;
  const auto gathered = gather({child.pid()}, within(50, &late));
  REQUIRE(!gathered.ok());
  CHECK(gathered.error().code == ETIMEDOUT);
  REQUIRE(late.size() == 1);
  CHECK(gathered.error().message().find(std::to_string(late[0].tid)) != std::string::npos);
  const auto busy = gather({child.pid()}, within(100));
  REQUIRE(!busy.ok());
  CHECK(busy.error().code == EBUSY);
  child.shared().stop = 1;
  CHECK(eventually([&] { return child.shared().value == CRI_VERDICT_ABORT; }));
  // The block may be IDLE a moment later.
  CHECK(eventually([&] { return gather({child.pid()}).ok(); }));
}

TEST_CASE("threads of the program run on undisturbed while its callbacks are called") {
  Child child([](Shared& shared) {
    test::make_block(shared);
    test::start_callbacks([] {
      while (test::fake.shared->stop == 0) test::nap();
      return 0;
    });
    shared.ready = 1;
    for (;;) ::pause();
  });
  until_ready(child);
  // A thread that is stopped, if only for a moment, counts up.
  const auto switches = [&] {
    const std::string text = *sys::read_file(fmt::format("/proc/{}/status", child.pid()));
    constexpr std::string_view kName = "\nvoluntary_ctxt_switches:";
    return std::stoul(text.substr(text.find(kName) + kName.size()));
  };
  REQUIRE(eventually([&] {
    const auto call = proc::read_syscall(child.pid(), child.pid());
    return call.ok() && call->number == SYS_pause;
  }));
  const auto before = switches();
  auto while_called = before;
  notify::Terms terms = within(kLimitMs);
  terms.cancelled = [&] {
    if (child.shared().count == 1 && child.shared().stop == 0) {  // the callback has begun
      while_called = switches();
      child.shared().stop = 1;
    }
    return false;
  };
  auto gathered = gather({child.pid()}, std::move(terms));
  REQUIRE_MESSAGE(gathered.ok(), gathered.error().message());
  CHECK(child.shared().stop == 1);
  CHECK(while_called == before);
  CHECK(finish(*gathered, {child.pid()}).ok());
}

TEST_CASE("callbacks run in a stopped process, which is stopped afterwards") {
  Child child(run_with_answer<0>);
  until_ready(child);
  REQUIRE(::kill(child.pid(), SIGSTOP) == 0);
  const auto state = [&] {
    const auto status = proc::read_status(child.pid());
    return status.ok() ? status->state : '?';
  };
  REQUIRE(eventually([&] { return state() == 'T'; }));
  auto gathered = gather({child.pid()});
  REQUIRE(gathered.ok());
  CHECK(gathered->was_stopped(child.pid()));
  CHECK(finish(*gathered, {child.pid()}).ok());
  CHECK(eventually([&] { return state() == 'T'; }));
  CHECK(child.shared().count == 5);
}

TEST_CASE("processes that end or become others in a callback do not hold up the rest") {
  Child leaver([](Shared& shared) {
    test::make_block(shared);
    test::start_callbacks([]() -> int { ::_exit(0); });
    shared.ready = 1;
    for (;;) ::pause();
  });
  Child changer([](Shared& shared) {
    test::make_block(shared);
    test::start_callbacks([] { return ::execlp("sleep", "sleep", "1000", nullptr); });
    shared.ready = 1;
    for (;;) ::pause();
  });
  Child child(run_with_answer<0>);
  until_ready(leaver);
  until_ready(changer);
  until_ready(child);
  auto gathered = gather({leaver.pid(), changer.pid(), child.pid()});
  REQUIRE_MESSAGE(gathered.ok(), gathered.error().message());
  CHECK(gathered->takes_part(child.pid()));
  CHECK(!gathered->takes_part(leaver.pid()));
  CHECK(!gathered->takes_part(changer.pid()));
  CHECK(finish(*gathered, {changer.pid(), child.pid()}).ok());
}

TEST_CASE("whoever is told nothing goes on when the handshake is given up") {
  Child child(run_with_answer<0>);
  until_ready(child);
  CHECK(gather({child.pid()}).ok());
  CHECK(child.shared().value == CRI_VERDICT_ABORT);
  checkpoint_well(child.pid());
}

TEST_CASE("when the engine dies, parked threads go on, and the next request waits for them") {
  Child child(run_with_answer<0>);
  until_ready(child);
  const Pid pid = child.pid();
  const Pid engine = ::fork();
  if (engine == 0) {
    auto gathered = gather({pid});
    ::_exit(gathered.ok() ? 0 : 1);  // no destructors
  }
  int status = 0;
  REQUIRE(::waitpid(engine, &status, 0) == engine);
  CHECK(status == 0);
  checkpoint_well(pid);
}

TEST_CASE("processes may wait for each other in their callbacks") {
  static std::atomic<int>* meeting = static_cast<std::atomic<int>*>(
      ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  const auto run = [](Shared& shared) {
    test::make_block(shared);
    test::start_callbacks([] {
      ++*meeting;
      while (*meeting < 2) test::nap();
      return 0;
    });
    shared.ready = 1;
    for (;;) ::pause();
  };
  Child first(run), second(run);
  until_ready(first);
  until_ready(second);
  auto gathered = gather({first.pid(), second.pid()});
  REQUIRE_MESSAGE(gathered.ok(), gathered.error().message());
  CHECK(finish(*gathered, {first.pid(), second.pid()}).ok());
}
