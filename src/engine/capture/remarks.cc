// Memory policies of single areas; the cookie of core scheduling; what System V semaphores undo;
// the program as /proc shows it.
#include "capture/remarks.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/sem.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <set>
#include <sstream>

#include "base/sys.h"
#include "proc/status.h"

namespace stasis::capture {
namespace {

constexpr int kPrSchedCore = 62;  // Linux 5.14

bool has_core_cookie(Pid pid) {
  u64 cookie = 0;
  const int got = ::prctl(kPrSchedCore, 0, pid, 0, &cookie);  // ENODEV without SMT, EINVAL before
  return got == 0 && cookie != 0;
}

// What semop(2) is to undo (SEM_UNDO) is shown nowhere; who changed a semaphore last is.
void remark_semaphores(std::span<const Pid> pids, std::vector<std::string>& notes) {
  const auto table = sys::read_file("/proc/sysvipc/sem");
  if (!table) return;
  std::istringstream lines(*table);
  std::string line;
  std::getline(lines, line);  // the names of the columns
  std::set<Pid> told;
  while (std::getline(lines, line)) {
    int key = 0, id = 0, number = 0;
    unsigned mode = 0;
    if (!(std::istringstream(line) >> key >> id >> std::oct >> mode >> std::dec >> number))
      continue;
    for (int i = 0; i < number; ++i) {
      const int pid = ::semctl(id, i, GETPID);
      if (std::ranges::find(pids, pid) == pids.end() || !told.insert(pid).second) continue;
      notes.push_back(
          fmt::format("process {} has changed System V semaphores ({}): what it did with SEM_UNDO "
                      "is undone when "
                      "it ends, and a restart does not do it again",
                      proc::describe(pid), id));
    }
  }
}

// Executing it is the only way to have it as /proc/PID/exe again without privileges, so that one
// that may not be executed by now is lost. It is no obstacle: few programs look there.
std::optional<std::string> lost_program(Pid pid) {
  const std::string link = fmt::format("/proc/{}/exe", proc::live_thread(pid));
  const auto path = sys::read_link(link);
  const auto allowed =
      sys::check(::faccessat(AT_FDCWD, link.c_str(), R_OK | X_OK, AT_EACCESS), "execute", link);
  if (!path || allowed || allowed.error().code != EACCES) return {};
  return fmt::format(
      "process {}: its program {} may not be read and executed by now; after a restart "
      "/proc/PID/exe leads to another one",
      proc::describe(pid), *path);
}

}  // namespace

bool has_area_policies(std::string_view numa_maps) {
  // An area without one shows that of the process: "7f1234560000 default anon=1 ...".
  std::set<std::string_view> policies;
  while (!numa_maps.empty()) {
    const size_t end = numa_maps.find('\n');
    const std::string_view line = numa_maps.substr(0, end);
    numa_maps.remove_prefix(end == std::string_view::npos ? numa_maps.size() : end + 1);
    const size_t from = line.find(' ');
    if (from == std::string_view::npos) continue;
    policies.insert(line.substr(from + 1, line.find(' ', from + 1) - from - 1));
  }
  return policies.size() > 1;
}

std::vector<std::string> remarks(std::span<const Pid> pids) {
  std::vector<std::string> notes;
  for (const Pid pid : pids) {
    const auto maps = sys::read_file(fmt::format("/proc/{}/numa_maps", proc::live_thread(pid)));
    if (maps && has_area_policies(*maps)) {
      notes.push_back(fmt::format(
          "process {}: memory policies of single areas (mbind) are not saved; the restarted areas "
          "follow the policy of the process",
          proc::describe(pid)));
    }
    if (auto lost = lost_program(pid)) notes.push_back(std::move(*lost));
    if (has_core_cookie(pid)) {
      notes.push_back(
          fmt::format("process {}: its core scheduling cookie (PR_SCHED_CORE) is not saved",
                      proc::describe(pid)));
    }
  }
  remark_semaphores(pids, notes);
  return notes;
}

}  // namespace stasis::capture
