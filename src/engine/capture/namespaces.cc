// The parts of a survey that look at namespaces: which of them a restart would not give back.
#include "capture/namespaces.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <sstream>

#include "base/sys.h"
#include "proc/status.h"

namespace stasis::capture {
namespace {

void refuse(std::vector<Refusal>& refusals, Pid pid, std::string reason, std::string advice = {}) {
  refusals.push_back({.subject = "process " + proc::describe(pid),
                      .reason = std::move(reason),
                      .advice = std::move(advice)});
}

// mountinfo without what differs for no reason of the program's: ids, peer groups, the order (a new
// namespace lists the same mounts in another one), and /proc, which a restart in a private pid
// namespace mounts anew.
std::vector<std::string> comparable_mounts(const std::string& mountinfo) {
  std::istringstream lines(mountinfo);
  std::vector<std::string> result;
  for (std::string line; std::getline(lines, line);) {
    const size_t dash = line.find(" - ");
    if (dash == std::string::npos || line.compare(dash, 8, " - proc ") == 0) continue;
    std::istringstream words(line);
    std::string id, parent, device, root, point;
    words >> id >> parent >> device >> root >> point;
    result.push_back(device + ' ' + root + ' ' + point + line.substr(dash));
  }
  std::sort(result.begin(), result.end());
  return result;
}

bool same_mounts(Pid pid) {
  const auto theirs = sys::read_file(fmt::format("/proc/{}/mountinfo", pid));
  const auto ours = sys::read_file("/proc/self/mountinfo");
  return theirs.ok() && ours.ok() && comparable_mounts(*theirs) == comparable_mounts(*ours);
}

std::optional<std::string> namespace_of(Pid pid, std::string_view kind) {
  const auto link = sys::read_link(fmt::format("/proc/{}/ns/{}", pid, kind));
  return link.ok() ? std::optional(*link) : std::nullopt;
}

bool differ(const std::optional<std::string>& one, const std::optional<std::string>& other) {
  return one && other && *one != *other;
}

// Whether everybody in it has the ids that he has here: "1001 1001 1" in /proc/PID/uid_map.
bool maps_to_the_same(const std::string& map) {
  std::istringstream lines(map);
  bool any = false;
  for (u64 inside = 0, outside = 0, count = 0; lines >> inside >> outside >> count; any = true) {
    if (inside != outside) return false;
  }
  return any;
}

// One that restarts or cr_run --userns made knows our user by his own number and gives him no
// rights, so that nothing is lost with it. In all others the program is somebody else.
void survey_user_namespace(Pid live, Pid pid, std::vector<Refusal>& refusals) {
  if (!differ(namespace_of(live, "user"), namespace_of(::getpid(), "user"))) return;
  const auto users = sys::read_file(fmt::format("/proc/{}/uid_map", live));
  const auto groups = sys::read_file(fmt::format("/proc/{}/gid_map", live));
  const bool same =
      users.ok() && groups.ok() && maps_to_the_same(*users) && maps_to_the_same(*groups);
  const auto status = proc::read_status(pid, live);
  if (same && status.ok() && status->cap_permitted == 0) return;
  refuse(refusals, pid,
         same ? "it lives in a user namespace of its own and has capabilities there"
              : "it lives in a user namespace of its own, in which users have other ids than here",
         "run cr_checkpoint and cr_restart inside the same container, or start the program "
         "without `unshare --user`");
}

// unshare(2) of what only children get: they would be born elsewhere than those of a restart.
void survey_children_namespaces(Pid live, Pid pid, std::vector<Refusal>& refusals) {
  for (const std::string kind : {"pid", "time"}) {
    const auto own = namespace_of(live, kind);
    const auto theirs = namespace_of(live, kind + "_for_children");
    // A pid namespace that has no process yet cannot be read.
    if (!differ(own, theirs) && !(kind == "pid" && own && !theirs)) continue;
    refuse(refusals, pid,
           fmt::format("it has made a {} namespace for its children (unshare(2))", kind));
  }
}

// The namespaces that a restart would not give back. User, pid and mount namespaces are those of a
// restart of ours when the mounts are the same but for /proc. Of a time namespace the clocks are
// saved (model::Origin), which is all there is to it.
}  // namespace

void survey_namespaces(Pid pid, std::vector<Refusal>& refusals) {
  const Pid live = proc::live_thread(pid);
  survey_user_namespace(live, pid, refusals);
  survey_children_namespaces(live, pid, refusals);
  for (const std::string kind : {"net", "ipc", "uts", "cgroup"}) {
    if (differ(namespace_of(live, kind), namespace_of(::getpid(), kind))) {
      refuse(refusals, pid,
             fmt::format("it lives in another {} namespace than cr_checkpoint", kind),
             "run cr_checkpoint inside the same container");
    }
  }
  if (differ(namespace_of(live, "mnt"), namespace_of(::getpid(), "mnt")) && !same_mounts(live)) {
    refuse(refusals, pid, "it sees other mounts than cr_checkpoint (mount namespace)",
           "run cr_checkpoint inside the same container");
  }
}

// An image has one set of clocks.
void survey_clocks(std::span<const Pid> pids, std::vector<Refusal>& refusals) {
  const auto clocks = [](Pid pid) { return namespace_of(proc::live_thread(pid), "time"); };
  for (const Pid pid : pids) {
    if (!differ(clocks(pid), clocks(pids.front()))) continue;
    refuse(refusals, pid,
           fmt::format("it lives in another time namespace than process {}",
                       proc::describe(pids.front())));
  }
}

}  // namespace stasis::capture
