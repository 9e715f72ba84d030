// Only relatives are asked: what is shared was inherited, or was passed between processes that know
// each other, and asking all of a machine's processes would take longer than the checkpoint.
#include "capture/outside_shares.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "base/sys.h"
#include "capture/outside_pipes.h"
#include "proc/fdinfo.h"
#include "proc/maps.h"
#include "proc/status.h"

namespace stasis::capture {
namespace {

// The parents of `pids`, up to the first process, and all of their sessions.
std::vector<Pid> relatives_of(std::span<const Pid> pids) {
  std::set<Pid> ancestors, sessions;
  for (const Pid pid : pids) {
    auto stat = proc::read_stat(pid);
    if (stat.ok()) sessions.insert(stat->session);
    while (stat.ok() && stat->parent > 1 && ancestors.insert(stat->parent).second) {
      stat = proc::read_stat(stat->parent);
    }
  }
  std::vector<Pid> relatives;
  const auto all = sys::list_numbers("/proc");
  for (const Pid pid : all ? *all : std::vector<Pid>()) {
    const bool is_us = pid == ::getpid() || pid == ::getppid();
    if (is_us || std::ranges::find(pids, pid) != pids.end()) continue;
    const auto stat = proc::read_stat(pid);
    const bool related = ancestors.contains(pid) || (stat.ok() && sessions.contains(stat->session));
    if (related) relatives.push_back(pid);
  }
  return relatives;
}

struct Held {
  Pid pid = 0;
  int number = -1;
};
using Holders = std::multimap<std::string, Held>;  // by what the link says

bool has_state_of_its_own(std::string_view link) {
  if (link.starts_with("anon_inode:")) return true;
  return link.starts_with('/') && !link.starts_with("/dev/") && !link.starts_with("/proc/");
}

void add_holders(Pid pid, Holders& holders) {
  const auto numbers = proc::read_descriptors(proc::live_thread(pid));
  for (const int number : numbers ? *numbers : std::vector<int>()) {
    const auto link = proc::read_fd_link(proc::live_thread(pid), number);
    if (link && has_state_of_its_own(*link)) holders.insert({*link, {pid, number}});
  }
}

// (Directories have a position, but hardly anybody reads one together with others.)
std::optional<std::string> describe_open_file(const std::string& link, const Held& ours,
                                              const Held& theirs) {
  const auto same = sys::same_open_file(ours.pid, ours.number, theirs.pid, theirs.number);
  if (!same || !*same) return std::nullopt;
  const auto status =
      sys::stat(fmt::format("/proc/{}/fd/{}", proc::live_thread(ours.pid), ours.number));
  if (!status || S_ISDIR(status->st_mode)) return std::nullopt;
  const auto info = proc::read_fdinfo(proc::live_thread(ours.pid), ours.number);
  const bool locked = info.ok() && std::ranges::any_of(info->locks, [](const auto& lock) {
                        return lock.type == "FLOCK" || lock.type == "OFDLCK";
                      });
  return fmt::format(
      "descriptor {} of process {} ({}) is one open file with that of process {}, which is not "
      "being "
      "saved: after a restart each has its own{}{}",
      ours.number, proc::describe(ours.pid), link, proc::describe(theirs.pid),
      locked ? fmt::format(", and the lock on it can be had when process {} has ended", theirs.pid)
             : "",
      option_for_both(ours.pid, theirs.pid));
}

void describe_open_files(std::span<const Pid> pids, const std::vector<Pid>& relatives,
                         std::vector<std::string>& sentences) {
  Holders theirs;
  for (const Pid pid : relatives) add_holders(pid, theirs);
  if (theirs.empty()) return;
  Holders ours;
  for (const Pid pid : pids) add_holders(pid, ours);
  std::set<std::string> told;
  for (const auto& [link, held] : ours) {
    const auto [first, last] = theirs.equal_range(link);
    for (auto other = first; other != last && !told.contains(link); ++other) {
      auto sentence = describe_open_file(link, held, other->second);
      if (!sentence) continue;
      sentences.push_back(*std::move(sentence));
      told.insert(link);
    }
  }
}

struct Mapped {
  Pid pid = 0;
  proc::Area area;
};
using Objects = std::map<std::pair<u64, u64>, Mapped>;  // device, inode

// Without a name there is no other way to the object than to share it.
void add_objects(Pid pid, Objects& objects) {
  const auto areas = proc::read_maps(proc::live_thread(pid));
  for (const proc::Area& area : areas ? *areas : std::vector<proc::Area>()) {
    if (!area.shared || !area.deleted || area.inode == 0) continue;
    const u64 device = (u64{area.device_major} << 32) | area.device_minor;
    objects.try_emplace({device, area.inode}, Mapped{pid, area});
  }
}

void describe_memory(std::span<const Pid> pids, const std::vector<Pid>& relatives,
                     std::vector<std::string>& sentences) {
  Objects ours, theirs;
  for (const Pid pid : pids) add_objects(pid, ours);
  if (ours.empty()) return;
  for (const Pid pid : relatives) add_objects(pid, theirs);
  for (const auto& [key, mapped] : ours) {
    const auto other = theirs.find(key);
    if (other == theirs.end()) continue;
    const Pid outside = other->second.pid;
    sentences.push_back(fmt::format(
        "memory at {:#x} of process {} ({}) is shared with process {}, which is not being saved: "
        "after a restart each has its own{}",
        mapped.area.start.value, proc::describe(mapped.pid), mapped.area.path,
        proc::describe(outside), option_for_both(mapped.pid, outside)));
  }
}

}  // namespace

std::vector<std::string> describe_outside_shares(std::span<const Pid> pids) {
  std::vector<std::string> sentences;
  const std::vector<Pid> relatives = relatives_of(pids);
  describe_open_files(pids, relatives, sentences);
  describe_memory(pids, relatives, sentences);
  return sentences;
}

}  // namespace stasis::capture
