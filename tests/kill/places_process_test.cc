// trace/remote_call on threads that stand in unusual places: a coroutine's stack, an alternate
// signal stack, a restartable sequence. They must not notice.
#include <doctest/doctest.h>
#include <linux/rseq.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

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
constexpr int kRounds = 20;
constexpr size_t kStackSize = 64 * 1024;
// The lower half belongs to somebody else: a frame there would be found out.
unsigned char coroutine_memory[2 * kStackSize];
Shared* coroutine_shared;

i64 ask_tid(trace::FrozenProcess& process, trace::FrozenThread& thread) {
  auto calls = trace::RemoteCalls::begin(process, thread);
  if (!calls.ok()) {
    MESSAGE(calls.error().message());
    return -calls.error().code;
  }
  // Not on a stack that we only take for one (same addresses in the child).
  const u64 place = calls->scratch().value;
  const auto guarded = reinterpret_cast<u64>(coroutine_memory);
  CHECK((place < guarded || place >= guarded + sizeof coroutine_memory));
  const auto got = calls->call(SYS_gettid, {});
  if (!got.ok() || !calls->finish().ok()) return -1;
  return *got;
}

// Freezes a few times and asks every thread; `after` is what has to be true at each stop.
template <class Check>
void freeze_and_ask(Child& child, Check check) {
  for (int round = 0; round < kRounds; ++round) {
    const u64 count = child.shared().count;
    REQUIRE(eventually([&] { return child.shared().count > count; }));
    const Pid pid = child.pid();
    auto frozen = trace::Freeze::take(std::span(&pid, 1), kLimitMs);
    REQUIRE_MESSAGE(frozen.ok(), frozen.error().message());
    trace::FrozenProcess& process = frozen->processes().at(0);
    for (trace::FrozenThread& thread : process.threads) {
      check(thread);
      CHECK(ask_tid(process, thread) == thread.tid);
    }
    CHECK(frozen->thaw().ok());
  }
  CHECK(child.shared().wrong == 0);
}

// Spins and checks that the memory below it, up to `room`, keeps its bytes.
void guard_memory(Shared& shared, unsigned char* memory, size_t length) {
  std::memset(memory, 0x5a, length);
  for (;; ++shared.count) {
    for (size_t i = 0; i < length; ++i) {
      if (memory[i] != 0x5a) ++shared.wrong;
    }
  }
}

void coroutine() {
  guard_memory(*coroutine_shared, coroutine_memory, kStackSize);
}

void run_coroutine() {
  ucontext_t context, back;
  ::getcontext(&context);
  context.uc_stack.ss_sp = coroutine_memory + kStackSize;
  context.uc_stack.ss_size = kStackSize;
  context.uc_link = &back;
  ::makecontext(&context, coroutine, 0);
  ::swapcontext(&back, &context);
}

void on_signal(int) {
  coroutine();
}

// A restartable sequence that counts in two steps and spins between them; aborted it begins again.
// Its counters differ by at most the one step unless it was resumed in the middle after a call.
extern "C" void rseq_count(struct rseq* area, struct rseq_cs* section, volatile u64* pair,
                           u64 spins);
__asm__(
    ".text\n.globl rseq_count\nrseq_count:\n"
    "0: mov %rsi, 8(%rdi)\n"  // rseq_cs
    ".globl rseq_start\nrseq_start:\n"
    "mov (%rdx), %r8\n"
    "mov %rcx, %r9\n"
    "1: dec %r9\njnz 1b\n"
    "inc %r8\n"
    "mov %r8, (%rdx)\n"  // commit
    ".globl rseq_end\nrseq_end:\n"
    "movq $0, 8(%rdi)\nret\n"
    ".long 0x53053053\n"
    ".globl rseq_abort\nrseq_abort:\n"
    "incq 8(%rdx)\n"  // aborts
    "jmp 0b\n");
extern "C" const char rseq_start[], rseq_end[], rseq_abort[];

}  // namespace

TEST_CASE("a main thread on a coroutine's stack") {
  Child child([](Shared& shared) {
    coroutine_shared = &shared;
    run_coroutine();
  });
  freeze_and_ask(child, [](const auto&) {});
}

TEST_CASE("a thread on a coroutine's stack") {
  Child child([](Shared& shared) {
    coroutine_shared = &shared;
    pthread_t thread;
    ::pthread_create(
        &thread, nullptr,
        [](void*) -> void* {
          run_coroutine();
          return nullptr;
        },
        nullptr);
    ::pthread_join(thread, nullptr);
  });
  freeze_and_ask(child, [](const auto&) {});
}

TEST_CASE("a handler on an alternate signal stack") {
  Child child([](Shared& shared) {
    coroutine_shared = &shared;
    const stack_t stack = {
        .ss_sp = coroutine_memory + kStackSize, .ss_flags = 0, .ss_size = kStackSize};
    ::sigaltstack(&stack, nullptr);
    struct sigaction action = {};
    action.sa_handler = on_signal;
    action.sa_flags = SA_ONSTACK;
    ::sigaction(SIGUSR1, &action, nullptr);
    ::raise(SIGUSR1);
  });
  freeze_and_ask(child, [](const auto&) {});
}

TEST_CASE("a thread inside a restartable sequence is sent to its abort address") {
  Child child([](Shared& shared) {
    // glibc has registered one for the thread; its offset is a symbol of newer ones only.
    static struct rseq own __attribute__((aligned(32)));
    pthread_t thread;
    const auto run = [](void* argument) -> void* {
      auto* mine = static_cast<Shared*>(argument);
      static struct rseq_cs section __attribute__((aligned(32)));
      section.start_ip = reinterpret_cast<u64>(rseq_start);
      section.post_commit_offset = static_cast<u64>(rseq_end - rseq_start);
      section.abort_ip = reinterpret_cast<u64>(rseq_abort);
      // A raw thread has none registered; the library's is unregistered first.
      const auto area = reinterpret_cast<char*>(__builtin_thread_pointer());
      for (long offset = -4096; offset < 4096; offset += 32) {
        auto* registered = reinterpret_cast<struct rseq*>((reinterpret_cast<u64>(area) & ~u64{31}) +
                                                          static_cast<u64>(offset));
        if (::syscall(SYS_rseq, registered, 32, 1, 0x53053053) == 0) break;
      }
      if (::syscall(SYS_rseq, &own, 32, 0, 0x53053053) != 0) {
        mine->value = static_cast<u64>(errno) | 1;
      }
      volatile u64 pair[2] = {};
      for (;; ++mine->count) {
        const u64 before = pair[0];
        rseq_count(&own, &section, pair, 100'000);
        if (pair[0] != before + 1) ++mine->wrong;
        mine->ready = pair[1];
      }
    };
    ::pthread_create(&thread, nullptr, run, &shared);
    ::pthread_join(thread, nullptr);
  });
  REQUIRE(eventually([&] { return child.shared().count > 0; }));
  if (child.shared().value != 0) {
    MESSAGE("skipped: no restartable sequence could be registered");
    return;
  }
  u64 inside = 0;
  freeze_and_ask(child, [&](const trace::FrozenThread& thread) {
    const u64 at = arch::instruction_pointer(thread.registers).value;
    const auto start = reinterpret_cast<u64>(rseq_start), end = reinterpret_cast<u64>(rseq_end);
    CHECK(!(at >= start && at < end));
    inside += at == reinterpret_cast<u64>(rseq_abort) ? 1 : 0;
  });
  CHECK(inside > 0);
  CHECK(eventually([&] { return child.shared().ready >= inside; }));
}

TEST_CASE("hundreds of threads that never sleep") {
  Child child([](Shared& shared) {
    const auto run = [](void* argument) -> void* {
      for (;; ++static_cast<Shared*>(argument)->count) {
      }
    };
    for (int i = 0; i < 200; ++i) {
      pthread_t thread;
      pthread_attr_t attributes;
      ::pthread_attr_init(&attributes);
      ::pthread_attr_setstacksize(&attributes, kStackSize);
      ::pthread_create(&thread, &attributes, run, &shared);
    }
    shared.ready = 1;
    for (;;) ::pause();
  });
  REQUIRE(eventually([&] { return child.shared().ready == 1; }));
  const Pid pid = child.pid();
  auto frozen = trace::Freeze::take(std::span(&pid, 1), kLimitMs);
  REQUIRE_MESSAGE(frozen.ok(), frozen.error().message());
  trace::FrozenProcess& process = frozen->processes().at(0);
  CHECK(process.threads.size() == 201);
  const u64 count = child.shared().count;
  for (trace::FrozenThread& thread : process.threads) {
    CHECK(ask_tid(process, thread) == thread.tid);
  }
  CHECK(child.shared().count == count);
  MESSAGE("paused for " << frozen->pause_us() << " us");
}
