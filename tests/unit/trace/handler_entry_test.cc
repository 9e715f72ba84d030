// trace/handler_entry: what a thread that is sent into a handler finds there, and afterwards. (That
// nothing else is noticed, and what a kill does, is tests/kill's business.)
#include "trace/handler_entry.h"

#include <doctest/doctest.h>
#include <poll.h>
#include <sys/syscall.h>
#include <ucontext.h>

#include <cerrno>
#include <cstring>

#include "arch/call_class.h"
#include "arch/signal_frame.h"
#include "children.h"
#include "proc/status.h"

using namespace stasis;
using test::Child;
using test::eventually;
using test::Shared;

namespace {

constexpr u64 kValue = 0x1122334455667788;

// In the child: the page of the test, where the handler can reach it.
Shared* page;

u64 blocked_now() {
  u64 mask = 0;
  (void)::syscall(SYS_rt_sigprocmask, SIG_BLOCK, nullptr, &mask, sizeof mask);
  return mask;
}

void handler(int signal, siginfo_t* info, void*) {
  constexpr u64 kAll = ~((u64{1} << (SIGKILL - 1)) | (u64{1} << (SIGSTOP - 1)));
  u64 value = 0;
  std::memcpy(&value, &info->si_value, sizeof value);
  if (blocked_now() != kAll || signal != SIGUSR2 || value != kValue) page->wrong = 1;
  ++page->count;
}

extern "C" void entry_restorer();
__asm__(".text\nentry_restorer:\nmov $15, %eax\nsyscall\n");

void block_one(int signal) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, signal);
  (void)::sigprocmask(SIG_BLOCK, &set, nullptr);
}

bool sleeps_in(Pid pid, i64 number) {
  return eventually([&] {
    const auto call = proc::read_syscall(pid, pid);
    return call.ok() && !call->running && call->number == number;
  });
}

Result<trace::Freeze> freeze(Pid pid) {
  constexpr i64 kLimitMs = 10'000;
  return trace::Freeze::take(std::span(&pid, 1), kLimitMs);
}

// The child is a copy of us: addresses are the same.
Result<void> send(Pid pid) {
  auto frozen = TRY(freeze(pid));
  trace::FrozenProcess& process = frozen.processes().front();
  TRY(trace::enter_handler(process, process.threads.front(),
                           {.handler = {reinterpret_cast<u64>(&handler)},
                            .restorer = {reinterpret_cast<u64>(&entry_restorer)},
                            .signal = SIGUSR2,
                            .value = kValue}));
  return frozen.thaw();
}

// Calls sigsuspend or pause with SIGUSR1 blocked outside.
template <int kCall>
void wait_for_signal(Shared& shared) {
  page = &shared;
  block_one(SIGUSR1);
  const u64 before = blocked_now();
  sigset_t none;
  sigemptyset(&none);
  shared.ready = 1;
  const int result = kCall == SYS_pause ? ::pause() : ::sigsuspend(&none);
  if (result != -1 || errno != EINTR || blocked_now() != before) shared.wrong = 2;
  shared.value = 1;
  for (;;) test::nap();
}

}  // namespace

TEST_CASE("only calls that wait for a signal are over after a handler") {
  arch::Registers raw;
  raw.raw.rip = 1000;
  for (const i64 number : {SYS_read, SYS_epoll_wait, SYS_rt_sigtimedwait}) {
    arch::set_call_number(raw, number);
    arch::set_result(raw, arch::kRestartNoHand);
    const arch::Registers again = arch::resolve_for_handler(raw, number);
    CHECK(arch::result(again) == number);
    CHECK(arch::instruction_pointer(again).value == 998);
  }
  for (const i64 number : {SYS_rt_sigsuspend, SYS_pause}) {
    arch::set_call_number(raw, number);
    const arch::Registers over = arch::resolve_for_handler(raw, number);
    CHECK(arch::result(over) == -EINTR);
    CHECK(arch::instruction_pointer(over).value == 1000);
  }
}

TEST_CASE("sigsuspend returns, and the mask from before it is back") {
  Child child(wait_for_signal<SYS_rt_sigsuspend>);
  REQUIRE(sleeps_in(child.pid(), SYS_rt_sigsuspend));
  const auto sent = send(child.pid());
  REQUIRE_MESSAGE(sent.ok(), sent.error().message());
  CHECK(eventually([&] { return child.shared().value == 1; }));
  CHECK(child.shared().count == 1);
  CHECK(child.shared().wrong == 0);
}

TEST_CASE("pause returns") {
  Child child(wait_for_signal<SYS_pause>);
  REQUIRE(sleeps_in(child.pid(), SYS_pause));
  REQUIRE(send(child.pid()).ok());
  CHECK(eventually([&] { return child.shared().value == 1; }));
  CHECK(child.shared().count == 1);
  CHECK(child.shared().wrong == 0);
}

TEST_CASE("a wait for a signal ends without a handler, too") {
  for (const auto run : {wait_for_signal<SYS_rt_sigsuspend>, wait_for_signal<SYS_pause>}) {
    Child child(run);
    REQUIRE(eventually([&] {
      const auto call = proc::read_syscall(child.pid(), child.pid());
      return call.ok() && (call->number == SYS_rt_sigsuspend || call->number == SYS_pause);
    }));
    auto frozen = freeze(child.pid());
    REQUIRE(frozen.ok());
    trace::FrozenProcess& process = frozen->processes().front();
    const auto ended = trace::end_signal_wait(process, process.threads.front());
    REQUIRE(ended.ok());
    CHECK(*ended);
    CHECK(frozen->thaw().ok());
    CHECK(eventually([&] { return child.shared().value == 1; }));
    CHECK(child.shared().count == 0);
    CHECK(child.shared().wrong == 0);
  }
}

TEST_CASE("other calls are no wait for a signal") {
  Child child([](Shared&) {
    for (;;) (void)::poll(nullptr, 0, -1);
  });
  REQUIRE(sleeps_in(child.pid(), SYS_poll));
  auto frozen = freeze(child.pid());
  REQUIRE(frozen.ok());
  trace::FrozenProcess& process = frozen->processes().front();
  const auto ended = trace::end_signal_wait(process, process.threads.front());
  REQUIRE(ended.ok());
  CHECK(!*ended);
}

TEST_CASE("a thread inside of a handler is sent into it once more") {
  Child child([](Shared& shared) {
    page = &shared;
    shared.ready = 1;
    for (;;) ++shared.value;
  });
  REQUIRE(eventually([&] { return child.shared().value > 0; }));
  for (u64 round = 0; round < 200; ++round) REQUIRE(send(child.pid()).ok());
  CHECK(eventually([&] { return child.shared().count == 200; }));
  CHECK(child.shared().wrong == 0);
  const u64 value = child.shared().value;
  CHECK(eventually([&] { return child.shared().value > value; }));
}

TEST_CASE("a stack without room is named, and the thread goes on") {
  Child child([](Shared& shared) {
    static ucontext_t there, back;
    constexpr size_t kSize = 4096;  // less than the vector registers need
    auto* memory = static_cast<std::byte*>(
        ::mmap(nullptr, 3 * kSize, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    (void)::mprotect(memory + kSize, kSize, PROT_READ | PROT_WRITE);
    page = &shared;
    (void)::getcontext(&there);
    there.uc_stack.ss_sp = memory + kSize;
    there.uc_stack.ss_size = 1024;
    there.uc_link = &back;
    ::makecontext(
        &there,
        [] {
          for (;;) ++page->value;
        },
        0);
    (void)::swapcontext(&back, &there);
  });
  REQUIRE(eventually([&] { return child.shared().value > 0; }));
  const auto sent = send(child.pid());
  REQUIRE(!sent.ok());
  CHECK(sent.error().code == EOPNOTSUPP);
  CHECK(sent.error().message().find("no room") != std::string::npos);
  const u64 value = child.shared().value;
  CHECK(eventually([&] { return child.shared().value > value; }));
  CHECK(child.shared().count == 0);
}
