// Looked for by reading build() and its passes for calls that fail for reasons that are known
// before: what is found here is refused before a process exists, and by checkpoints, too.
#include "restart/foresee.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/capability.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <set>

#include "base/sys.h"
#include "resource/restore.h"
#include "restart/layout.h"
#include "restart/passes.h"
#include "restart/proc_paths.h"

namespace stasis::restart {
namespace {

constexpr int kCapWakeAlarm = 35;
constexpr u32 kRealTimeIo = 1, kIoClassShift = 13;  // ioprio_set(2)

std::string name_of(const model::Process& process) {
  const std::string name = process.threads.empty() ? "" : process.threads.front().name;
  return fmt::format("process {} ({})", process.pid, name);
}

bool may(const Machine& machine, int capability) {
  return (machine.credentials.effective >> capability & 1) != 0;
}

std::set<Pid> ids_of(const model::Image& image) {
  std::set<Pid> ids;
  for (const model::Process& process : image.processes) {
    for (const model::Thread& thread : process.threads) ids.insert(thread.tid);
  }
  return ids;
}

// CPU clocks carry the inverted id of a process or thread: clock_getcpuclockid(3).
void check_clocks(const model::Image& image, const model::Process& process, const Machine& machine,
                  std::vector<Refusal>& refusals) {
  const std::set<Pid> ids = ids_of(image);
  for (const model::PosixTimer& timer : process.posix_timers) {
    const Pid id = timer.clock < 0 ? ~(timer.clock >> 3) : 0;
    if (id != 0 && !ids.contains(id)) {
      refusals.push_back(
          {name_of(process),
           fmt::format("its timer {} runs on the CPU time of {}, which is not saved", timer.id, id),
           ""});
    }
    const bool alarm = timer.clock == CLOCK_REALTIME_ALARM || timer.clock == CLOCK_BOOTTIME_ALARM;
    if (alarm && !may(machine, kCapWakeAlarm)) {
      refusals.push_back({name_of(process),
                          fmt::format("its timer {} may wake the machine, which we may not let it "
                                      "(CAP_WAKE_ALARM)",
                                      timer.id),
                          "restart it as administrator"});
    }
  }
}

// The rules of prctl(PR_SET_MM_MAP).
void check_marks(const model::Process& process, std::vector<Refusal>& refusals) {
  const model::MemoryMarks& m = process.memory.marks;
  const bool ordered = m.start_code <= m.end_code && m.start_data <= m.end_data &&
                       m.start_brk <= m.brk && m.arg_start <= m.arg_end && m.env_start <= m.env_end;
  if (ordered) return;
  refusals.push_back(
      {name_of(process), "the marks of its memory (prctl(PR_SET_MM)) are in disorder", ""});
}

void check_descriptors(const model::Process& process, const Machine& machine,
                       std::vector<Refusal>& refusals) {
  if (process.descriptors.empty()) return;
  const int highest = process.descriptors.back().number;
  for (const model::ResourceLimit& limit : machine.limits) {
    if (limit.which != RLIMIT_NOFILE || static_cast<u64>(highest) < limit.hard) continue;
    refusals.push_back({name_of(process),
                        fmt::format("its descriptor {} is beyond our limit of open files ({})",
                                    highest, limit.hard),
                        "restart it from a shell with a higher limit (ulimit -n)"});
  }
}

void check_io_priority(const model::Process& process, const Machine& machine,
                       std::vector<Refusal>& refusals) {
  if (may(machine, CAP_SYS_ADMIN) || may(machine, CAP_SYS_NICE)) return;
  for (const model::Thread& thread : process.threads) {
    if (thread.scheduling.io_priority >> kIoClassShift != kRealTimeIo) continue;
    refusals.push_back({fmt::format("thread {} of {}", thread.tid, name_of(process)),
                        "it has a real-time I/O priority (ionice), which we may not give",
                        "restart it as administrator"});
  }
}

// A restart has its own nice value and limits; those of the shell that saves say nothing of them,
// but for what an administrator grants to a user (limits.conf(5)).
Result<Machine> expected_machine() {
  Machine machine = TRY(this_machine());
  machine.nice = std::min(machine.nice, 0);
  for (model::ResourceLimit& limit : machine.limits) {
    if (limit.which == RLIMIT_NICE || limit.which == RLIMIT_RTPRIO) continue;
    limit.soft = limit.hard = ~u64{0};
  }
  return machine;
}

void append(std::vector<Refusal>& all, std::vector<Refusal> more) {
  all.insert(all.end(), more.begin(), more.end());
}

std::vector<Refusal> processes_obstacles(const model::Image& image, const Machine& machine) {
  std::vector<Refusal> refusals = memory_obstacles(image, machine);
  for (const model::Process& process : image.processes) {
    append(refusals, process_obstacles(process, machine));
    append(refusals, detail_obstacles(image, process, machine));
  }
  return refusals;
}

}  // namespace

std::vector<Refusal> plan_obstacles(const model::Image& image, const FamilyOptions& options) {
  std::vector<Refusal> refusals;
  const auto refuse = [&](const Error& error) {
    refusals.push_back({"the image", error.message(), error.hint, error.code});
  };
  if (const auto family = plan_family(image, options); !family) refuse(family.error());
  size_t threads = 1;
  for (const model::Process& process : image.processes) {
    threads = std::max(threads, process.threads.size());
  }
  const auto scratch = choose_scratch(image, Target::scratch_length(threads));
  if (!scratch) {
    refuse(scratch.error());
  } else if (const auto homes = shared_homes(image, *scratch); !homes) {
    refuse(homes.error());
  }
  return refusals;
}

std::vector<Refusal> directory_obstacles(const model::Image& image,
                                         const resource::RestoreContext& context) {
  std::vector<Refusal> refusals;
  const std::set<Pid> ids = ids_of(image);
  for (size_t i = 0; i < image.processes.size(); ++i) {
    const model::Process& process = image.processes[i];
    const std::string path = context.relocate(process.working_directory);
    if (ids.contains(process_of_path(path))) continue;  // there when the process is
    const std::string subject =
        fmt::format("the working directory {} of {}", path, name_of(process));
    const auto acting = resource::act_for_process(i, context);
    const auto status = acting ? sys::stat(path) : Result<struct stat>(acting.error());
    if (!status) {
      refusals.push_back({subject, status.error().message(),
                          "make the directory again, or use --relocate if it is somewhere else now",
                          status.error().code});
    } else if (!S_ISDIR(status->st_mode)) {
      refusals.push_back({subject, "it is no directory now", "make the directory again", ENOTDIR});
    } else if (::faccessat(AT_FDCWD, path.c_str(), X_OK, AT_EACCESS) != 0) {
      refusals.push_back({subject, "we may not enter it", "give leave to enter it: chmod", EACCES});
    }
  }
  return refusals;
}

std::vector<Refusal> detail_obstacles(const model::Image& image, const model::Process& process,
                                      const Machine& machine) {
  std::vector<Refusal> refusals;
  check_clocks(image, process, machine, refusals);
  check_marks(process, refusals);
  check_descriptors(process, machine, refusals);
  check_io_priority(process, machine, refusals);
  return refusals;
}

std::vector<Refusal> foresee(const model::Image& image) {
  const auto machine = expected_machine();
  if (!machine) return {};  // cannot be told; a restart will
  std::vector<Refusal> refusals = machine_obstacles(image, *machine, false);
  append(refusals, processes_obstacles(image, *machine));
  append(refusals, plan_obstacles(image, {}));
  return refusals;
}

std::vector<Refusal> foresee_sketch(const model::Image& image) {
  const auto machine = expected_machine();
  return machine ? processes_obstacles(image, *machine) : std::vector<Refusal>();
}

}  // namespace stasis::restart
