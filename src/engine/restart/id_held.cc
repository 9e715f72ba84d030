// kill(2) with signal 0 answers for processes, threads and groups; for the rest all of /proc is
// read, which is done only when something is in the way.
#include "restart/id_held.h"

#include <fmt/format.h>
#include <signal.h>
#include <time.h>

#include <algorithm>

#include "base/sys.h"
#include "proc/status.h"

namespace stasis::restart {
namespace {

constexpr int kLooks = 150;          // killed processes need a moment on a busy machine
constexpr int kLooksAtDying = 3000;  // some inits take their time to reap
constexpr long kLookAgainNs = 2'000'000;

struct Holder {
  proc::Stat stat;
  std::string_view as;
};

std::vector<Holder> holders_of(Pid id) {
  std::vector<Holder> holders;
  if (const auto own = proc::read_stat(id)) {
    holders.push_back({*own, ""});
    return holders;
  }
  const auto pids = sys::list_numbers("/proc");
  if (!pids) return holders;
  for (const int pid : *pids) {
    const auto stat = proc::read_stat(pid);
    if (!stat) continue;
    if (stat->group == id) {
      holders.push_back({*stat, "process group"});
    } else if (stat->session == id) {
      holders.push_back({*stat, "session"});
    }
  }
  return holders;
}

// On its way out: exit(2) of a large process takes long on a busy machine, and so does the way
// there.
bool is_ending(const proc::Stat& stat) {
  constexpr u32 kExiting = 0x4;  // PF_EXITING (include/linux/sched.h)
  constexpr u64 kKill = u64{1} << (SIGKILL - 1);
  if (stat.state == 'Z' || (stat.flags & kExiting) != 0) return true;
  const auto status = proc::read_status(stat.pid);
  return !status || ((status->pending | status->shared_pending) & kKill) != 0;
}

// Only those that end, or that somebody is to reap, and the cr_checkpoint that killed the group
// that it was in itself: it sees to their end.
bool is_dying(Pid id) {
  const std::vector<Holder> holders = holders_of(id);
  return std::all_of(holders.begin(), holders.end(), [](const Holder& holder) {
    return is_ending(holder.stat) || holder.stat.name == "cr_checkpoint";
  });
}

bool stays_held(Pid id) {
  for (int look = 0; is_held(id); ++look) {
    if (look >= kLooks && (look == kLooksAtDying || !is_dying(id))) return true;
    const timespec pause = {.tv_sec = 0, .tv_nsec = kLookAgainNs};
    (void)::nanosleep(&pause, nullptr);  // waking early is harmless
  }
  return false;
}

}  // namespace

bool is_held(Pid id) {
  return proc::exists(id) || ::kill(id, 0) == 0 || ::kill(-id, 0) == 0;
}

std::string holder_of(Pid id) {
  const std::vector<Holder> holders = holders_of(id);
  if (holders.empty()) return "";
  const std::string process = "process " + proc::describe(holders.front().stat.pid);
  if (holders.front().as.empty()) return process;
  return fmt::format("{} {} of {}", holders.front().as, id, process);
}

bool may_be_original(const model::Image& image, Pid id) {
  const std::vector<Holder> holders = holders_of(id);
  return std::any_of(image.processes.begin(), image.processes.end(), [&](const auto& process) {
    return std::any_of(holders.begin(), holders.end(), [&](const Holder& holder) {
      return !process.threads.empty() && holder.stat.name == process.threads.front().name;
    });
  });
}

std::optional<Birth> find_held(const Family& family, const std::vector<Birth>& births) {
  for (const Birth& birth : births) {
    const bool any_will_do =
        birth.thread == 0 && family.members[birth.member].role == Role::kStandIn;
    if (!any_will_do && stays_held(birth.id)) return birth;
  }
  return std::nullopt;
}

}  // namespace stasis::restart
