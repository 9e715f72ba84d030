// The calls themselves, and the threads that make them side by side. The failing call is clone3
// with CLONE_PIDFD and a place for the pidfd that cannot be written: kernel/fork.c stores it after
// alloc_pid(), and frees everything on EFAULT. CLONE_VM and its kin are there to make it cheap.
// Which id such a call took it does not say: only the counter's state tells, in /proc/loadavg.
// Essay: docs/design/pids.md.
#include "restart/id_burner.h"

#include <fmt/format.h>
#include <linux/sched.h>
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>

#include "base/log.h"
#include "base/sys.h"
#include "restart/birth.h"

namespace stasis::restart {
namespace {

constexpr u64 kProbes = 32;
constexpr u64 kShare = 64;           // ids that a thread takes from the common work at a time
constexpr u64 kWorthThreads = 1024;  // below, making threads costs more than it gains
constexpr u64 kNowhere = 1;          // no address that the kernel could write to

i64 now_ns() {
  timespec time = {};
  (void)::clock_gettime(CLOCK_MONOTONIC, &time);  // cannot fail
  return time.tv_sec * 1'000'000'000 + time.tv_nsec;
}

int exit_at_once(void*) {
  return 0;
}

// 0: an id was taken.
int take_by_failing_call() {
  clone_args arguments = {};
  arguments.flags = u64{CLONE_PIDFD} | CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND;
  arguments.pidfd = kNowhere;
  const long result = ::syscall(SYS_clone3, &arguments, u64{CLONE_ARGS_SIZE_VER0});
  if (result == 0) ::_exit(0);  // a kernel that made the process all the same: it is not us
  const int code = result == -1 ? sys::last_code() : 0;
  return code == EFAULT ? 0 : std::max(code, 1);
}

// The thread that the id belonged to is gone. Negative: the errno.
long take_by_thread() {
  alignas(16) std::array<std::byte, 4096> stack;  // ours waits (CLONE_VFORK) while it is in use
  constexpr int kFlags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
                         CLONE_SYSVSEM | CLONE_VFORK;
  const int got = ::clone(exit_at_once, stack.data() + stack.size(), kFlags, nullptr);
  return got == -1 ? -sys::last_code() : got;
}

// What several threads work off together.
struct Work {
  bool by_failing_calls = true;
  std::atomic<i64> left = 0;
  std::atomic<int> code = 0;  // of the first call that took no id
};

void work_off(Work& work) {
  while (work.code == 0) {
    const i64 had = work.left.fetch_sub(kShare);
    for (i64 i = 0; i < std::min<i64>(had, kShare); ++i) {
      const long got = work.by_failing_calls ? -take_by_failing_call() : take_by_thread();
      if (got >= 0) continue;
      work.code = static_cast<int>(-got);
      return;
    }
    if (had <= static_cast<i64>(kShare)) return;
  }
}

void* work_in_thread(void* work) {
  work_off(*static_cast<Work*>(work));
  return nullptr;
}

// Fewer threads than wanted are no harm: this one does what is left.
void work_together(Work& work, unsigned threads) {
  std::array<pthread_t, 16> others = {};
  size_t made = 0;
  {
    const BlockedSignals blocked;  // they must take none of ours
    while (made + 1 < threads && made < others.size() &&
           ::pthread_create(&others.at(made), nullptr, work_in_thread, &work) == 0) {
      ++made;
    }
  }
  work_off(work);
  for (size_t i = 0; i < made; ++i) (void)::pthread_join(others.at(i), nullptr);  // they exist
}

unsigned processors() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof set, &set) != 0) return 1;  // more processors than the set has
  return static_cast<unsigned>(std::max(1, CPU_COUNT(&set)));
}

Result<Pid> read_number(const std::string& path, std::string_view text) {
  Pid number = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (problem != std::errc{}) return fail(EIO, fmt::format("{} has no number", path));
  return number;
}

}  // namespace

Result<Pid> last_id() {
  const std::string path = "/proc/loadavg";
  const std::string text = TRY(sys::read_file(path));
  const size_t space = text.find_last_of(' ');
  if (space == std::string::npos) return fail(EIO, path + " has no fields");
  return read_number(path, std::string_view(text).substr(space + 1));
}

Result<Pid> id_limit() {
  const std::string path = "/proc/sys/kernel/pid_max";
  return read_number(path, TRY(sys::read_file(path)));
}

Result<Pid> burn_one() {
  const long got = take_by_thread();
  if (got >= 0) return static_cast<Pid>(got);
  return sys::error_of(static_cast<int>(-got), "make", "a thread to pass over an id");
}

Result<IdBurner> IdBurner::probe(unsigned most) {
  IdBurner burner(std::clamp(processors(), 1U, std::min(most, kMostThreads)));
  const Pid before = TRY(last_id());
  int code = 0;
  for (u64 i = 0; i < kProbes && code == 0; ++i) code = take_by_failing_call();
  const Pid after = TRY(last_id());
  // Smaller: the counter has wrapped, and so has moved.
  const bool moved = after < before || after - before >= static_cast<Pid>(kProbes);
  burner.by_failing_calls_ = code == 0 && moved;
  if (!burner.by_failing_calls_) log::debug("ids are passed over by threads: code {}", code);
  return burner;
}

Result<void> IdBurner::burn(u64 count) {
  const i64 start = now_ns();
  Work work;
  work.by_failing_calls = by_failing_calls_;
  work.left = static_cast<i64>(count);
  work_together(work, count < kWorthThreads ? 1 : threads_);
  if (work.code == EAGAIN && threads_ > 1) {
    threads_ = 1;  // each is a process more while it is in its call
    return {};     // who asked looks where the counter is
  }
  if (work.code != 0) return sys::error_of(work.code, "pass over", "ids");
  burnt_ += count;
  spent_ns_ += now_ns() - start;
  return {};
}

double IdBurner::rate() const {
  if (spent_ns_ <= 0) return 0;
  return static_cast<double>(burnt_) * 1e9 / static_cast<double>(spent_ns_);
}

}  // namespace stasis::restart
