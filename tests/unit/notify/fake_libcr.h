// What a process with libcr shows to the engine, hand-made in a few lines: a control block, an
// entry point, a callback thread. For children that are forked from a test; the real library has
// tests of its own.
#pragma once

#include <linux/futex.h>
#include <signal.h>
#include <stasis/handshake.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <thread>

#include "children.h"

namespace stasis::test {

struct Fake {
  cri_block* block = nullptr;
  Shared* shared = nullptr;
  int (*callback)() = nullptr;  // its value is what is given to cr_checkpoint()
  std::atomic<int> critical = 0;
};
inline Fake fake;

template <class T>
std::atomic<u32>& word(T& field) {
  static_assert(sizeof(T) == 4);
  return *reinterpret_cast<std::atomic<u32>*>(&field);  // NOLINT: shared with another process
}

inline void wait_on(std::atomic<u32>& at, u32 value) {
  const timespec second = {.tv_sec = 1, .tv_nsec = 0};
  (void)::syscall(SYS_futex, &at, FUTEX_WAIT_PRIVATE, value, &second, nullptr, 0);
}

inline bool engine_is_gone() {
  return fake.block->engine_pid != 0 && ::syscall(SYS_kill, fake.block->engine_pid, 0) != 0;
}

// Waits for the verdict; the last one out sets IDLE.
inline void park() {
  cri_block& block = *fake.block;
  word(block.parked) += 1;
  while (word(block.verdict) == CRI_VERDICT_NONE) {
    wait_on(word(block.verdict), CRI_VERDICT_NONE);
    if (engine_is_gone()) word(block.verdict) = CRI_VERDICT_ABORT;
  }
  fake.shared->value = block.verdict;
  word(block.parked) -= 1;
  if ((word(block.present) -= 1) != 0) return;
  word(block.phase) = CRI_PHASE_IDLE;
  if (word(block.stop).exchange(0) != 0) (void)::kill(::getpid(), SIGSTOP);
}

inline void entry(int, siginfo_t*, void*) {
  if (word(fake.block->phase) != CRI_PHASE_SIGNALS) return;
  ++fake.shared->count;
  word(fake.block->present) += 1;
  park();
}

extern "C" void fake_restorer();
__asm__(".text\nfake_restorer:\nmov $15, %eax\nsyscall\n");

inline void callback_loop() {
  cri_block& block = *fake.block;
  block.callback_tid = static_cast<int>(::syscall(SYS_gettid));
  while (true) {
    while (word(block.phase) != CRI_PHASE_REQUESTED) wait_on(word(block.phase), block.phase);
    ++fake.shared->count;
    word(block.present) += 1;
    const int answer = fake.callback();
    block.answer_tid = block.callback_tid;
    word(block.answer) = static_cast<u32>(answer);
    if (word(block.verdict) == CRI_VERDICT_NONE) word(block.phase) = CRI_PHASE_THREADS_READY;
    park();
  }
}

// Makes the block, between its two guards.
inline void make_block(Shared& shared) {
  fake.shared = &shared;
  auto* memory = static_cast<std::byte*>(::mmap(nullptr, CRI_BLOCK_AREA + 2 * CRI_PAGE, PROT_NONE,
                                                MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  (void)::mprotect(memory + CRI_PAGE, CRI_BLOCK_AREA, PROT_READ | PROT_WRITE);
  fake.block = reinterpret_cast<cri_block*>(memory + CRI_PAGE);
  cri_block& block = *fake.block;
  block.version = CRI_BLOCK_VERSION;
  block.size = sizeof block;
  block.self = reinterpret_cast<u64>(&block);
  block.entry = reinterpret_cast<u64>(&entry);
  block.restorer = reinterpret_cast<u64>(&fake_restorer);
  block.kind = CRI_KIND_FULL;
  block.pid = ::getpid();
  std::memcpy(block.magic, CRI_BLOCK_MAGIC, sizeof block.magic);
}

inline void start_callbacks(int (*callback)()) {
  fake.callback = callback;
  fake.block->registered = 1;
  std::thread(callback_loop).detach();
  while (word(reinterpret_cast<u32&>(fake.block->callback_tid)) == 0) nap();
}

// Threads of all kinds, besides the caller.
inline void start_threads(int number) {
  for (int i = 0; i < number; ++i) {
    std::thread([i] {
      for (std::atomic<u64> spin = 0;; ++spin) {
        if (i % 2 == 0) nap();
      }
    }).detach();
  }
}

}  // namespace stasis::test
