// Scopes: a process, its tree, its group or its session, from /proc. Every look may be wrong by the
// time it is used; the freeze asks again until all that it finds stands still.
#include "engine/scope.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>

#include "base/sys.h"
#include "proc/status.h"
#include "trace/freeze.h"

namespace stasis::engine {
namespace {

// A first thread that has ended before others looks like a zombie as well.
bool has_ended(Pid pid, char state) {
  if (state == 'X') return true;
  if (state != 'Z') return false;
  const auto status = proc::read_status(pid);
  return !status || status->threads <= 1;
}

// A stranger's, where /proc is mounted with hidepid=.
bool is_hidden(const Error& error) {
  return error.code == EPERM || error.code == EACCES;
}

// What is to be known of a process to order it.
struct Found {
  Pid parent = 0;
  bool ended = false;
};

Error nobody(Pid target, Scope scope) {
  const std::string_view what = scope == Scope::kGroup     ? "process group"
                                : scope == Scope::kSession ? "session"
                                                           : "process";
  return fail(ESRCH, fmt::format("there is no {} {}", what, target));
}

Result<ScopeMembers> only_process(Pid pid, const proc::Status& status) {
  if (has_ended(pid, status.state)) {
    return fail(ESRCH, fmt::format("process {} has exited", proc::describe(pid)));
  }
  return ScopeMembers{.pids = {pid}, .zombies = {}};
}

// Appends all descendants level by level.
Result<void> add_descendants(ScopeMembers& found) {
  for (size_t next = 0; next < found.pids.size(); ++next) {
    const auto children = proc::read_children(found.pids[next]);
    if (!children && !proc::says_gone(children.error())) return children.error();
    if (!children) continue;  // it has ended meanwhile
    for (const Pid child : *children) {
      const auto stat = proc::read_stat(child);
      if (!stat && !proc::says_gone(stat.error())) return stat.error();
      if (!stat || child == ::getpid()) continue;
      (has_ended(child, stat->state) ? found.zombies : found.pids).push_back(child);
    }
  }
  return {};
}

// All processes with the id, parents before children.
Result<ScopeMembers> with_id(Pid id, Scope scope) {
  std::map<Pid, Found> all;
  for (const Pid pid : TRY(sys::list_numbers("/proc"))) {
    const auto stat = proc::read_stat(pid);
    if (!stat && !proc::says_gone(stat.error()) && !is_hidden(stat.error())) return stat.error();
    if (!stat || pid == ::getpid()) continue;
    if ((scope == Scope::kGroup ? stat->group : stat->session) != id) continue;
    all[pid] = {.parent = stat->parent, .ended = has_ended(pid, stat->state)};
  }
  const auto is_member = [&all](Pid pid) { return all.contains(pid) && !all[pid].ended; };
  ScopeMembers found;
  for (const auto& [pid, facts] : all) {
    if (facts.ended) {
      found.zombies.push_back(pid);
    } else if (!is_member(facts.parent)) {
      found.pids.push_back(pid);
    }
  }
  for (size_t next = 0; next < found.pids.size(); ++next) {
    for (const auto& [pid, facts] : all) {
      if (!facts.ended && facts.parent == found.pids[next]) found.pids.push_back(pid);
    }
  }
  // The leader is who the image is known by, if it may come first.
  const auto leader = std::find(found.pids.begin(), found.pids.end(), id);
  if (leader != found.pids.end() && !is_member(all[id].parent)) {
    std::rotate(found.pids.begin(), leader, leader + 1);
  }
  return found;
}

}  // namespace

Result<ScopeMembers> find_scope(Pid target, Scope scope) {
  ScopeMembers found;
  if (scope == Scope::kGroup || scope == Scope::kSession) {
    found = TRY(with_id(target, scope));
  } else {
    const auto status = proc::read_status(target);
    if (!status) return proc::says_gone(status.error()) ? nobody(target, scope) : status.error();
    found = TRY(only_process(status->tgid, *status));
    if (scope == Scope::kTree) TRY(add_descendants(found));
    std::erase(found.pids, ::getpid());
  }
  if (found.pids.empty()) return nobody(target, scope);
  return found;
}

Result<std::vector<Pid>> scope_members(Pid target, Scope scope) {
  return TRY(find_scope(target, scope)).pids;
}

Result<void> check_traceable(const std::vector<Pid>& pids) {
  std::vector<Refusal> refusals;
  for (const Pid pid : pids) {
    auto obstacle = trace::tracing_obstacle(pid);
    if (!obstacle || (obstacle->code == ESRCH && pids.size() > 1)) continue;
    if (pids.size() == 1) return *std::move(obstacle);
    refusals.push_back({.subject = "process " + proc::describe(pid),
                        .reason = obstacle->message(),
                        .advice = obstacle->hint,
                        .code = obstacle->code});
  }
  if (refusals.empty()) return {};
  return refused("not all processes can be traced", refusals);
}

}  // namespace stasis::engine
