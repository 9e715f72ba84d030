// Every answer is of this moment; the freeze asks again until nothing changes.
#include "engine/members.h"

#include <fmt/format.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>

#include "base/sys.h"
#include "engine/scope.h"
#include "engine/tracer_call.h"
#include "notify/notify.h"
#include "proc/status.h"

namespace stasis::engine {
namespace {

constexpr i64 kTracerPatienceMs = 10'000;  // without a time limit

// The same processes, each behind its parent; otherwise in their order.
std::vector<Pid> parents_first(const std::vector<Pid>& pids) {
  std::map<Pid, std::vector<Pid>> children;
  for (const Pid pid : pids) {
    const auto stat = proc::read_stat(pid);
    const Pid parent = stat.ok() ? stat->parent : 0;
    const bool inside = std::ranges::find(pids, parent) != pids.end();
    children[inside ? parent : 0].push_back(pid);
  }
  std::vector<Pid> ordered = children[0];
  for (size_t next = 0; next < ordered.size(); ++next) {
    const auto& its = children[ordered[next]];
    ordered.insert(ordered.end(), its.begin(), its.end());
  }
  return ordered;
}

void sleep_a_moment() {
  const timespec pause = {.tv_sec = 0, .tv_nsec = 2'000'000};
  (void)::nanosleep(&pause, nullptr);  // waking early is harmless
}

// Who is traced, by whom. A tracee can be anywhere, so that all processes are looked at.
std::map<Pid, Pid> tracers_of_all() {
  std::map<Pid, Pid> tracers;
  const auto pids = sys::list_numbers("/proc");
  if (!pids) return tracers;
  for (const Pid pid : *pids) {
    const auto status = proc::read_status(pid);
    if (status.ok() && status->tracer != 0) tracers[pid] = status->tracer;
  }
  return tracers;
}

// A member that the rules do not let pass; `code` is kPtraced or kPtracer.
struct Obstacle {
  Pid member = 0, other = 0;
  int code = 0;
  PtracePolicy policy = PtracePolicy::kError;
};

std::vector<Obstacle> find_obstacles(const CheckpointRequest& request,
                                     const std::vector<Pid>& members) {
  std::vector<Obstacle> found;
  for (const auto& [pid, tracer] : tracers_of_all()) {
    const auto process = proc::read_status(tracer);  // the tracer is a thread
    const Pid owner = process.ok() ? process->tgid : tracer;
    if (owner == ::getpid()) continue;
    if (std::ranges::find(members, pid) != members.end()) {
      found.push_back({pid, owner, kPtraced, request.ptraced});
    }
    if (std::ranges::find(members, owner) != members.end()) {
      found.push_back({owner, pid, kPtracer, request.ptracers});
    }
  }
  return found;
}

// A restart holds itself as a checkpoint holds its targets, for as long as it works.
bool is_restarting(Pid tracer) {
  const auto claim = notify::Claim::take(std::span(&tracer, 1));
  return !claim.ok() && claim.error().code == EBUSY;
}

// What is a member itself is held by us.
bool is_being_restarted(const Obstacle& obstacle, const std::vector<Pid>& members) {
  const bool is_member = std::ranges::find(members, obstacle.other) != members.end();
  return obstacle.code == kPtraced && !is_member && is_restarting(obstacle.other);
}

Error refusal_of(const Obstacle& obstacle, const std::vector<Pid>& members) {
  if (is_being_restarted(obstacle, members)) {
    return fail(EBUSY,
                fmt::format("process {} is being restarted by process {}",
                            proc::describe(obstacle.member), proc::describe(obstacle.other)),
                "Wait for that to end.");
  }
  if (obstacle.code == kPtraced) {
    if (auto why = trace::tracing_obstacle(obstacle.member)) return *std::move(why);
    return fail(kPtraced,
                fmt::format("process {} was traced by process {} a moment ago",
                            proc::describe(obstacle.member), obstacle.other),
                "Try again.");
  }
  return fail(obstacle.code,
              fmt::format("process {} traces process {}", proc::describe(obstacle.member),
                          proc::describe(obstacle.other)),
              "What a debugger or strace does to another process cannot be saved: end it "
              "first, or leave it out (--ptracer-skip).");
}

}  // namespace

Result<std::vector<Pid>> Members::now() const {
  std::vector<Pid> pids;
  std::optional<Error> nobody;
  for (const auto& [scope, target] : scopes_) {
    auto found = scope_members(target, scope);
    if (!found && found.error().code != ESRCH) return found;
    if (!found) {
      if (!nobody) nobody = found.error();
      continue;
    }
    for (const Pid pid : *found) {
      if (left_out_.contains(pid) || std::ranges::find(pids, pid) != pids.end()) continue;
      pids.push_back(pid);
    }
  }
  if (pids.empty()) return nobody ? *nobody : fail(ESRCH, "no process is left to be saved");
  return scopes_.size() == 1 ? pids : parents_first(pids);
}

std::vector<Pid> Members::lost_zombies() const {
  std::vector<Pid> lost;
  const auto members = now();
  if (!members) return lost;
  for (const auto& [scope, target] : scopes_) {
    const auto found = find_scope(target, scope);
    if (!found) continue;
    for (const Pid pid : found->zombies) {
      const auto stat = proc::read_stat(pid);
      if (!stat || std::ranges::find(*members, stat->parent) != members->end()) continue;
      if (std::ranges::find(lost, pid) == lost.end()) lost.push_back(pid);
    }
  }
  return lost;
}

bool Members::widen(Scope scope, Pid target) {
  const std::pair wanted(scope, target);
  if (std::ranges::find(scopes_, wanted) != scopes_.end()) return false;
  scopes_.push_back(wanted);
  return true;
}

Result<void> apply_tracer_rules(const CheckpointRequest& request, Members& members,
                                const Deadline& deadline) {
  constexpr i64 kRestartPatienceMs = 2000;
  const Deadline patience(kTracerPatienceMs), soon(kRestartPatienceMs);
  TracerCalls calls;
  while (true) {
    const std::vector<Pid> pids = TRY(members.now());
    const std::vector<Obstacle> obstacles = find_obstacles(request, pids);
    bool waiting = false;
    std::vector<Pid> waited_for;
    for (const Obstacle& obstacle : obstacles) {
      const bool late = deadline.left_ms() < 0 ? patience.passed() : deadline.passed();
      // What was restarted may ask for a checkpoint before all of it has been detached.
      if (is_being_restarted(obstacle, pids) && !soon.passed() && !deadline.passed()) {
        waiting = true;
      } else if (obstacle.policy == PtracePolicy::kSkip) {
        members.leave_out(obstacle.member);
      } else if (obstacle.policy == PtracePolicy::kError || late) {
        return refusal_of(obstacle, pids);
      } else {
        waiting = true;
        if (obstacle.code == kPtraced) waited_for.push_back(obstacle.member);
      }
    }
    if (!waiting) return {};
    // Who asked may be the tracer, and lets go only when it has been told that its request is on.
    if (request.accepted) request.accepted(TRY(members.now()));
    for (const Pid pid : waited_for) calls.call(pid);
    sleep_a_moment();
  }
}

}  // namespace stasis::engine
