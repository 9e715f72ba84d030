// Children that do one thing, for tests of freezing: forked from the test, with a page that both
// see.
#pragma once

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <atomic>

#include "base/types.h"

namespace stasis::test {

// The page: counters by which the child tells and the test asks.
struct Shared {
  std::atomic<u64> ready, count, wrong, stop, value;
};

class Child {
 public:
  // `run` is called in the child and must not return to the test's code.
  explicit Child(void (*run)(Shared&)) {
    shared_ = static_cast<Shared*>(
        ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    pid_ = ::fork();
    if (pid_ == 0) {
      run(*shared_);
      ::_exit(0);
    }
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    (void)::kill(pid_, SIGKILL);
    (void)::waitpid(pid_, nullptr, 0);  // the test has no signal handlers
    (void)::munmap(shared_, sizeof(Shared));
  }
  [[nodiscard]] Pid pid() const { return pid_; }
  Shared& shared() { return *shared_; }

 private:
  Pid pid_ = 0;
  Shared* shared_ = nullptr;
};

inline void nap() {
  const timespec pause = {.tv_sec = 0, .tv_nsec = 200'000};
  (void)::nanosleep(&pause, nullptr);
}

// Waits for an event, ten seconds at most.
template <class Condition>
bool eventually(Condition condition) {
  for (int i = 0; i < 50'000; ++i) {
    if (condition()) return true;
    nap();
  }
  return condition();
}

}  // namespace stasis::test
