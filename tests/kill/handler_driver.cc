// Sends every thread of the kill test's target into its handler, some rounds, for the kill test.
//   handler-driver PID STATUS-FILE [--rounds N] [--exact]
// --exact: nobody else does; every thread must have run the handler once a round.
// Exit: 0 done, 1 an error (told on stderr), 2 usage.
#include <fcntl.h>
#include <fmt/format.h>
#include <time.h>

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "base/sys.h"
#include "status.h"
#include "trace/freeze.h"
#include "trace/handler_entry.h"

using namespace stasis;

namespace {

constexpr i64 kLimitMs = 10'000;

struct Settings {
  Pid pid = 0;
  std::string file;
  int rounds = 1;
  bool exact = false;
};

Result<status> read_status(const Settings& settings) {
  const UniqueFd file = TRY(sys::open(settings.file, O_RDONLY));
  status now = {};
  TRY(sys::pread_full(file.get(), std::as_writable_bytes(std::span(&now, 1)), 0));
  return now;
}

// The number of threads that were sent.
Result<u64> send(const Settings& settings, const trace::HandlerEntry& entry) {
  auto freeze = TRY(trace::Freeze::take(std::span(&settings.pid, 1), kLimitMs));
  u64 sent = 0;
  for (trace::FrozenProcess& process : freeze.processes()) {
    for (trace::FrozenThread& thread : process.threads) {
      TRY(trace::enter_handler(process, thread, entry));
      ++sent;
    }
  }
  TRY(freeze.thaw());
  return sent;
}

Result<void> await(const Settings& settings, u64 handled) {
  constexpr int kLooks = 100'000;
  for (int look = 0; look < kLooks; ++look) {
    const status now = TRY(read_status(settings));
    if (now.handled == handled) return {};
    if (now.handled > handled) return fail(EPROTO, "the handler ran too often");
    const timespec pause = {.tv_sec = 0, .tv_nsec = 100'000};
    (void)::nanosleep(&pause, nullptr);
  }
  return fail(ETIMEDOUT, "the handler ran too seldom");
}

Result<void> run(const Settings& settings) {
  const status before = TRY(read_status(settings));
  const trace::HandlerEntry entry = {
      .handler = {before.handler}, .restorer = {before.restorer}, .signal = 64, .value = 0x5354};
  u64 handled = before.handled;
  for (int round = 0; round < settings.rounds; ++round) {
    handled += TRY(send(settings, entry));
    if (settings.exact) TRY(await(settings, handled));
  }
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  Settings settings{.pid = std::atoi(argv[1]), .file = argv[2]};
  for (int i = 3; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word == "--exact") settings.exact = true;
    if (word == "--rounds" && i + 1 < argc) settings.rounds = std::atoi(argv[++i]);
  }
  const auto done = run(settings);
  if (!done) fmt::print(stderr, "{}\n", done.error().message());
  return done.ok() ? 0 : 1;
}
