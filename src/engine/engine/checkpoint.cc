// checkpoint() and check(): the passes from a request to a complete context file.
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <time.h>

#include <algorithm>
#include <chrono>
#include <set>

#include "base/sys.h"
#include "capture/buffered_pages.h"
#include "capture/capture.h"
#include "engine/engine.h"
#include "engine/own_file.h"
#include "engine/scope.h"
#include "proc/status.h"
#include "trace/freeze.h"

namespace stasis::engine {
namespace {

using Clock = std::chrono::steady_clock;

i64 us_since(Clock::time_point start) {
  return std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - start).count();
}

// What is left of a request's time; -1 without a limit, 0 when it has passed.
class Deadline {
 public:
  explicit Deadline(i64 limit_ms) : limit_ms_(limit_ms) {}
  [[nodiscard]] i64 left_ms() const {
    if (limit_ms_ < 0) return -1;
    return std::max<i64>(0, limit_ms_ - us_since(start_) / 1000);
  }
  [[nodiscard]] bool passed() const { return left_ms() == 0; }
  [[nodiscard]] Error error() const {
    return fail(ETIMEDOUT, fmt::format("the time limit of {} s has passed", limit_ms_ / 1000),
                "the program goes on as before; give it more time (--time)");
  }

 private:
  i64 limit_ms_;
  Clock::time_point start_ = Clock::now();
};

capture::CaptureOptions capture_options(const CheckpointRequest& request) {
  return {.save_executable = request.save_executable,
          .save_private = request.save_private,
          .save_shared = request.save_shared};
}

Result<format::Destination> open_destination(CheckpointRequest& request) {
  if (request.fd) return format::Destination::adopt(std::move(request.fd));
  return format::Destination::create(request.file, request.destination);
}

// Killed processes are gone when a command that killed them returns, so that their pids are free.
// Those whose parent died with them are reaped by init, usually at once. The others' parents reap
// them when they please, which is not ours to wait for.
void await_death(const std::vector<UniqueFd>& pidfds, const std::vector<Pid>& orphans) {
  constexpr int kPatienceMs = 2000;
  constexpr timespec kPause = {.tv_sec = 0, .tv_nsec = 1'000'000};
  const Clock::time_point start = Clock::now();
  const auto left_ms = [&] {
    return static_cast<int>(std::max<i64>(0, kPatienceMs - us_since(start) / 1000));
  };
  for (const UniqueFd& pidfd : pidfds) {
    pollfd wait = {.fd = pidfd.get(), .events = POLLIN, .revents = 0};
    (void)::poll(&wait, 1, left_ms());  // late is no failure: the signal has been sent
  }
  for (const Pid pid : orphans) {
    while (proc::exists(pid) && left_ms() > 0) (void)::nanosleep(&kPause, nullptr);
  }
}

// Kills frozen processes. Thawing them fails, as they are dead, and that is what was wanted.
Result<void> kill_frozen(trace::Freeze& freeze) {
  std::vector<UniqueFd> pidfds;
  std::vector<Pid> orphans;
  std::set<Pid> killed;
  for (const trace::FrozenProcess& process : freeze.processes()) {
    const auto stat = proc::read_stat(process.pid);
    if (stat.ok() && killed.contains(stat->parent)) orphans.push_back(process.pid);
    killed.insert(process.pid);
    pidfds.push_back(TRY(sys::pidfd_open(process.pid)));
    TRY(sys::check(::kill(process.pid, SIGKILL), "kill", "process " + std::to_string(process.pid)));
  }
  (void)freeze.thaw();
  await_death(pidfds, orphans);
  return {};
}

// The signal reaches the frozen processes as the first thing they see when they run on, so that
// nothing happens between the image and it.
Result<void> thaw_with_signal(trace::Freeze& freeze, int signal) {
  if (signal == 0) return freeze.thaw();
  if (signal == SIGKILL) return kill_frozen(freeze);
  for (const trace::FrozenProcess& process : freeze.processes()) {
    TRY(sys::check(::kill(process.pid, std::abs(signal)), "send the signal to",
                   "process " + std::to_string(process.pid)));
  }
  return freeze.thaw();
}

void add_counts(CheckpointReport& report, const model::Image& image) {
  for (const model::Process& process : image.processes) {
    report.pids.push_back(process.pid);
    report.threads += process.threads.size();
  }
  report.memory_bytes = report.written.page_bytes;
}

// Zombies of the scope whose parent is not saved: nobody could wait for them after a restart.
void note_lost_zombies(CheckpointReport& report, const CheckpointRequest& request) {
  const auto scope = find_scope(request.target, request.scope);
  if (!scope) return;
  for (const Pid pid : scope->zombies) {
    const auto stat = proc::read_stat(pid);
    if (!stat || std::ranges::find(scope->pids, stat->parent) != scope->pids.end()) continue;
    report.notes.push_back(fmt::format(
        "process {} has exited and is left out, as its parent {}, which has not waited for it, is "
        "not being saved",
        proc::describe(pid), proc::describe(stat->parent)));
  }
}

Result<void> check_requester(const CheckpointRequest& request, const std::vector<Pid>& members) {
  if (!request.prohibit_self) return {};
  const Pid self = request.requester != 0 ? request.requester : ::getpid();
  if (std::ranges::find(members, self) == members.end()) return {};
  return fail(EDEADLK, fmt::format("process {} would save itself, which it does not want",
                                   proc::describe(self)));
}

// Stops writing when the time is up, whatever the caller's own progress says.
format::WriteOptions with_deadline(const format::WriteOptions& options, const Deadline& deadline) {
  format::WriteOptions limited = options;
  limited.progress = [&options, &deadline](u64 done, u64 total) {
    return !deadline.passed() && (!options.progress || options.progress(done, total));
  };
  return limited;
}

Result<format::WriteReport> write(int fd, capture::Captured& captured,
                                  const format::WriteOptions& options, const Deadline& deadline) {
  auto written =
      format::write_image(fd, captured.image, *captured.pages, with_deadline(options, deadline));
  if (!written && deadline.passed()) return deadline.error();
  return written;
}

}  // namespace

Result<std::vector<Refusal>> check(Pid target, Scope scope) {
  const std::vector<Pid> members = TRY(scope_members(target, scope));
  return capture::survey(members, {});
}

Result<CheckpointReport> checkpoint(CheckpointRequest request) {
  const Clock::time_point start = Clock::now();
  const Deadline deadline(request.time_limit_ms);
  const capture::CaptureOptions options = capture_options(request);

  const std::vector<Pid> members = TRY(scope_members(request.target, request.scope));
  TRY(check_traceable(members));
  const std::vector<Refusal> refusals = capture::survey(members, options);
  if (!refusals.empty()) {
    return refused(fmt::format("process {} cannot be saved", proc::describe(members.front())),
                   refusals);
  }
  TRY(check_requester(request, members));
  format::Destination destination = TRY(open_destination(request));
  if (request.accepted) request.accepted(members);

  CheckpointReport report{.file = destination.path()};
  trace::Freeze freeze = TRY(trace::Freeze::take(
      [&request] { return scope_members(request.target, request.scope); }, deadline.left_ms()));
  capture::Captured captured = TRY(capture::capture(freeze, options));
  captured.image.origin.scope = static_cast<u32>(request.scope);
  set_aside(captured.image, TRY(sys::fstat(destination.fd())));
  note_lost_zombies(report, request);
  // A small program runs on while its image is written. One that is to be signalled afterwards is
  // let go only when the image is safe.
  const bool early =
      request.signal == 0 && capture::may_buffer(capture::content_bytes(captured.image));
  if (early) {
    captured.pages = TRY(capture::buffer_pages(captured.image, *captured.pages));
    TRY(freeze.thaw());
  }
  report.written = TRY(write(destination.fd(), captured, request.write, deadline));
  add_counts(report, captured.image);
  if (request.signal != 0) TRY(destination.commit());
  if (!early) TRY(thaw_with_signal(freeze, request.signal));
  report.pause_us = freeze.pause_us();
  if (request.signal == 0) TRY(destination.commit());
  report.total_us = us_since(start);
  return report;
}

}  // namespace stasis::engine
