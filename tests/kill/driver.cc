// Freezes a process, makes several calls inside every thread, checks their results, and lets it go:
// the trace room without the rest of a checkpoint, for the kill test. The calls change nothing.
//   kill-driver PID [--calls N] [--times] [--timeout-ms N]
// Exit: 0 done, 1 an error (told on stderr), 2 usage.
#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "arch/call_class.h"
#include "trace/freeze.h"
#include "trace/remote_call.h"

using namespace stasis;

namespace {

struct Settings {
  Pid pid = 0;
  int calls = 3;
  i64 timeout_ms = 10'000;
  bool times = false;
};

i64 now_us() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::microseconds>(now).count();
}

Result<i64> check_thread(trace::FrozenProcess& process, trace::FrozenThread& thread, int calls) {
  auto remote = TRY(trace::RemoteCalls::begin(process, thread));
  for (int i = 0; i < calls; ++i) {
    const i64 tid = TRY(remote.call(SYS_gettid, {}));
    if (tid != thread.tid) return fail(EPROTO, fmt::format("gettid gave {}", tid));
    const i64 got = TRY(remote.call(SYS_sigaltstack, {0, remote.scratch().value}));
    if (got != 0) return fail(EPROTO, fmt::format("sigaltstack gave {}", got));
    const auto stack = TRY(process.memory.read_object<stack_t>(remote.scratch()));
    if ((stack.ss_flags & ~(SS_DISABLE | SS_ONSTACK)) != 0)
      return fail(EPROTO, "sigaltstack gave nonsense");
    const i64 other = TRY(remote.call(SYS_prctl, {PR_GET_TIMERSLACK}));
    if (other < 0) return fail(EPROTO, fmt::format("prctl gave {}", other));
  }
  TRY(remote.finish());
  return 3 * calls;
}

Result<void> run(const Settings& settings) {
  const i64 start = now_us();
  auto freeze = TRY(trace::Freeze::take(std::span(&settings.pid, 1), settings.timeout_ms));
  const i64 frozen = now_us();
  i64 calls = 0;
  size_t threads = 0;
  for (trace::FrozenProcess& process : freeze.processes()) {
    for (trace::FrozenThread& thread : process.threads) {
      ++threads;
      if (thread.zombie) continue;
      auto done = check_thread(process, thread, settings.calls);
      if (!done.ok()) return done.error();
      calls += *done;
      if (settings.times) {
        fmt::print("thread {} call {} orig {} result {} left {} ms\n", thread.tid,
                   thread.interrupted_call, arch::call_number(thread.registers),
                   arch::result(thread.registers), thread.remaining_ns / 1'000'000);
      }
    }
  }
  const i64 called = now_us();
  TRY(freeze.thaw());
  if (settings.times) {
    fmt::print("threads {} calls {} freeze {} us calls {} us thaw {} us pause {} us\n", threads,
               calls, frozen - start, called - frozen, now_us() - called, freeze.pause_us());
  }
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word == "--times") {
      settings.times = true;
    } else if (word == "--calls" && i + 1 < argc) {
      settings.calls = std::atoi(argv[++i]);
    } else if (word == "--timeout-ms" && i + 1 < argc) {
      settings.timeout_ms = std::atoi(argv[++i]);
    } else {
      settings.pid = std::atoi(argv[i]);
    }
  }
  if (settings.pid <= 0) return 2;
  const auto done = run(settings);
  if (done.ok()) return 0;
  fmt::print(stderr, "kill-driver: {}\n{}\n", done.error().message(), done.error().hint);
  return 1;
}
