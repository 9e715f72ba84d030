// validate(): everything on this machine that speaks against the image, all at once, before
// anything is made. Files are resource::restore_obstacles()'s business.
#include "restart/validate.h"

#include <fmt/format.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>

#include "arch/cpu_features.h"
#include "base/sys.h"
#include "proc/status.h"
#include "restart/credentials.h"
#include "restart/foresee.h"
#include "restart/layout.h"
#include "restart/memory_flags.h"
#include "restart/memory_plan.h"
#include "restart/timers.h"
#include "restart/vdso_home.h"

namespace stasis::restart {
namespace {

constexpr std::string_view kLimitNames[] = {
    "CPU time",       "file size",     "data size",          "stack size",
    "core file size", "resident set",  "processes",          "open files",
    "locked memory",  "address space", "file locks",         "pending signals",
    "message queues", "nice",          "real-time priority", "real-time CPU time"};

u64 parse_number(std::string_view text) {
  u64 value = 0;
  (void)std::from_chars(text.data(), text.data() + text.size(), value);  // 0 when there is none
  return value;
}

bool may(const Machine& machine, int capability) {
  return (machine.credentials.effective >> capability & 1) != 0;
}

std::string process_name(const model::Process& process) {
  const std::string name = process.threads.empty() ? "" : process.threads.front().name;
  return fmt::format("process {} ({})", process.pid, name);
}

const model::ResourceLimit* limit_of(const std::vector<model::ResourceLimit>& limits, int which) {
  for (const model::ResourceLimit& limit : limits) {
    if (limit.which == which) return &limit;
  }
  return nullptr;
}

std::string limit_text(u64 value) {
  return value == ~u64{0} ? "unlimited" : fmt::format("{}", value);
}

void check_limits(const model::Process& process, const Machine& machine,
                  std::vector<Refusal>& refusals) {
  if (may(machine, CAP_SYS_RESOURCE)) return;
  for (const model::ResourceLimit& saved : process.limits) {
    const model::ResourceLimit* ours = limit_of(machine.limits, saved.which);
    if (ours == nullptr || saved.hard <= ours->hard) continue;
    const auto index = static_cast<size_t>(saved.which);
    const std::string name = index < std::size(kLimitNames) ? std::string(kLimitNames[index])
                                                            : fmt::format("number {}", index);
    refusals.push_back(
        {process_name(process),
         fmt::format("its hard limit of {} was {}, and ours is {}, which only an administrator "
                     "can raise",
                     name, limit_text(saved.hard), limit_text(ours->hard)),
         "restart it from a shell with at least that limit (ulimit -H, prlimit)"});
  }
}

void check_locks(const model::Process& process, const Machine& machine,
                 std::vector<Refusal>& refusals) {
  const u64 locked = locked_bytes(process);
  const model::ResourceLimit* ours = limit_of(machine.limits, RLIMIT_MEMLOCK);
  if (ours == nullptr || locked <= ours->hard || may(machine, CAP_IPC_LOCK)) return;
  refusals.push_back(
      {process_name(process),
       fmt::format("it had locked {} bytes of memory; we may lock {}", locked, ours->hard),
       "raise the limit of locked memory (ulimit -l)"});
}

void check_scheduling(const model::Process& process, const Machine& machine,
                      std::vector<Refusal>& refusals) {
  if (may(machine, CAP_SYS_NICE)) return;
  const model::ResourceLimit* nice = limit_of(machine.limits, RLIMIT_NICE);
  const model::ResourceLimit* priority = limit_of(machine.limits, RLIMIT_RTPRIO);
  const i64 lowest = std::min<i64>(
      machine.nice, nice == nullptr ? 20 : 20 - static_cast<i64>(std::min<u64>(nice->hard, 40)));
  for (const model::Thread& thread : process.threads) {
    const model::Scheduling& saved = thread.scheduling;
    const std::string subject = fmt::format("thread {} of {}", thread.tid, process_name(process));
    const bool fair =
        saved.policy != SCHED_FIFO && saved.policy != SCHED_RR && saved.policy != SCHED_DEADLINE;
    if (fair && !thread.zombie && saved.nice < lowest) {
      refusals.push_back(
          {subject,
           fmt::format("it ran with nice {}; the lowest we may have is {}", saved.nice, lowest),
           "restart it with that nice value or as administrator"});
    }
    const u64 allowed = priority == nullptr ? 0 : priority->hard;
    if (saved.policy == SCHED_DEADLINE || (!fair && saved.priority > allowed)) {
      refusals.push_back({subject,
                          fmt::format("it ran with real-time priority {}; we may have {}",
                                      saved.priority, allowed),
                          "restart it as administrator or with a higher limit (ulimit -r)"});
    }
  }
}

void check_vma(const model::Image& image, const model::Process& process, const model::Vma& vma,
               const Machine& machine, std::vector<Refusal>& refusals) {
  if (vma.kind == model::VmaKind::kVsyscall) return;
  const std::string subject =
      fmt::format("{} of {}", describe_area(image, vma), process_name(process));
  if (vma.end > kAddressEnd || vma.end < vma.start) {
    refusals.push_back({subject, "this machine has no such addresses", ""});
  }
  if (vma.start.value < machine.lowest_address && !may(machine, CAP_SYS_RAWIO)) {
    refusals.push_back(
        {subject,
         fmt::format("addresses below {:#x} cannot be mapped here", machine.lowest_address),
         "lower vm.mmap_min_addr (sysctl)"});
  }
  const bool ours = vma.kind != model::VmaKind::kVdso && vma.kind != model::VmaKind::kVvar;
  for (std::string& reason : ours ? unsupported_flags(vma) : std::vector<std::string>()) {
    refusals.push_back({subject, std::move(reason), ""});
  }
  if (ours && has_flag(vma, "sl") && !machine.has_mseal) {
    refusals.push_back({subject, "it is sealed, and this kernel has no mseal", ""});
  }
  if (has_flag(vma, "ht") && vma.resource &&
      std::holds_alternative<model::SharedMemory>(image.resources[*vma.resource])) {
    refusals.push_back({subject, "shared anonymous huge pages cannot be rebuilt", ""});
  }
}

void check_timers(const model::Process& process, const Machine& machine,
                  std::vector<Refusal>& refusals) {
  for (const model::PosixTimer& timer : process.posix_timers) {
    if (timer.id < 0) {
      refusals.push_back(
          {process_name(process), fmt::format("its timer {} has no possible id", timer.id), ""});
    }
    if (machine.choose_timer_ids || timer.id <= kLargestCountedTimerId) continue;
    refusals.push_back(
        {process_name(process),
         fmt::format("its timer {} has an id that this kernel cannot give again", timer.id),
         "restart it under Linux 6.15 or newer"});
  }
}

void check_state(const model::Image& image, const Machine& machine,
                 std::vector<Refusal>& refusals) {
  for (const model::Process& process : image.processes) {
    for (const model::Thread& thread : process.threads) {
      if (thread.zombie || thread.registers.legacy) continue;
      const Bytes fresh(machine.extended_state_size == 0 ? 512 : machine.extended_state_size);
      const auto adapted = arch::adapt_extended_state(thread.registers.extended, fresh);
      if (adapted) continue;
      refusals.push_back({fmt::format("thread {} of {}", thread.tid, process_name(process)),
                          adapted.error().what, "restart it on the machine it was saved on"});
    }
  }
}

}  // namespace

std::vector<Refusal> machine_obstacles(const model::Image& image, const Machine& machine,
                                       bool ignore_cpu_features) {
  const model::Origin& origin = image.origin;
  if (origin.architecture != machine.architecture) {
    return {{"the image",
             fmt::format("it was made on {}, and this is {}", origin.architecture,
                         machine.architecture),
             ""}};
  }
  std::vector<Refusal> refusals;
  if (origin.page_size != machine.page_size) {
    refusals.push_back(
        {"the image",
         fmt::format("its pages have {} bytes, and ours {}", origin.page_size, machine.page_size),
         ""});
  }
  const auto missing = arch::missing_features(origin.cpu_features, machine.cpu_features);
  if (!missing.empty() && !ignore_cpu_features) {
    refusals.push_back(
        {"the processor",
         fmt::format("it lacks what the program may use: {}", fmt::join(missing, " ")),
         "--ignore-cpu-features restarts it in spite of that"});
  }
  if ((origin.xcr0 & ~machine.xcr0) != 0 && !ignore_cpu_features) {
    refusals.push_back(
        {"the processor",
         fmt::format("it has no state for: {}", arch::component_names(origin.xcr0 & ~machine.xcr0)),
         "--ignore-cpu-features restarts it in spite of that"});
  }
  check_state(image, machine, refusals);
  if (machine.vdso_sealed) {
    refusals.push_back({"this kernel", "it does not let a process move its vdso (it is sealed)",
                        "boot with a kernel without CONFIG_MSEAL_SYSTEM_MAPPINGS"});
  }
  const auto vdso = vdso_obstacles(image, machine.vdso);
  refusals.insert(refusals.end(), vdso.begin(), vdso.end());
  return refusals;
}

std::vector<Refusal> memory_obstacles(const model::Image& image, const Machine& machine) {
  std::vector<Refusal> refusals;
  for (const model::Process& process : image.processes) {
    for (const model::Vma& vma : process.memory.vmas) {
      check_vma(image, process, vma, machine, refusals);
    }
  }
  return refusals;
}

std::vector<Refusal> process_obstacles(const model::Process& process, const Machine& machine) {
  std::vector<Refusal> refusals =
      credential_obstacles(process.credentials, machine.credentials, process_name(process));
  if (process.root_directory != machine.root_directory) {
    refusals.push_back({process_name(process),
                        fmt::format("its root directory was {}", process.root_directory),
                        "restart it inside of that root (chroot)"});
  }
  check_limits(process, machine, refusals);
  check_locks(process, machine, refusals);
  check_scheduling(process, machine, refusals);
  check_timers(process, machine, refusals);
  return refusals;
}

Result<Machine> this_machine() {
  Machine machine;
  utsname names = {};
  TRY(sys::check(::uname(&names), "ask", "the system's name"));
  machine.architecture = names.machine;
  machine.page_size = static_cast<u64>(::sysconf(_SC_PAGESIZE));
  machine.cpu_features = arch::cpu_features();
  machine.xcr0 = arch::xcr0();
  machine.extended_state_size = arch::extended_state_size();
  machine.vdso = own_vdso();
  machine.vdso_sealed = TRY(vdso_is_sealed());
  // Nothing at address 0 of length 0: EINVAL or 0 where the call exists.
  const auto seal = sys::raw("try", "mseal", kSysMseal, 0L, 0L, 0L);
  machine.has_mseal = seal.ok() || seal.error().code != ENOSYS;
  machine.choose_timer_ids = timer_ids_can_be_chosen();
  const auto lowest = sys::read_file("/proc/sys/vm/mmap_min_addr");
  machine.lowest_address = lowest ? parse_number(*lowest) : 0;
  const proc::Status status = TRY(proc::read_status(::getpid()));
  machine.credentials = credentials_of(status);
  machine.credentials.securebits = static_cast<u32>(
      TRY(sys::check(::prctl(PR_GET_SECUREBITS, 0, 0, 0, 0), "read", "our secure bits")));
  machine.no_new_privs = status.no_new_privs;
  machine.seccomp = status.seccomp != 0;
  machine.login = proc::read_login(::getpid());
  machine.label = proc::read_label(::getpid());
  for (int which = 0; which < static_cast<int>(RLIM_NLIMITS); ++which) {
    rlimit64 limit = {};
    TRY(sys::check(::prlimit64(0, static_cast<__rlimit_resource>(which), nullptr, &limit), "read",
                   "our resource limits"));
    machine.limits.push_back({which, limit.rlim_cur, limit.rlim_max});
  }
  machine.nice = TRY(proc::read_stat(::getpid())).nice;
  machine.root_directory = TRY(sys::read_link("/proc/self/root"));
  return machine;
}

std::vector<Refusal> validate(const model::Image& image, const BuildOptions& options) {
  auto machine = this_machine();
  if (!machine) return {{"this machine", machine.error().message(), ""}};
  if (!options.trusted) machine = for_the_user(std::move(*machine));
  std::vector<Refusal> refusals = machine_obstacles(image, *machine, options.ignore_cpu_features);
  const auto add = [&](std::vector<Refusal> more) {
    refusals.insert(refusals.end(), more.begin(), more.end());
  };
  add(memory_obstacles(image, *machine));
  for (const model::Process& process : image.processes) {
    add(process_obstacles(process, *machine));
    add(detail_obstacles(image, process, *machine));
  }
  if (refusals.empty()) {
    add(plan_obstacles(image,
                       {options.restore_group, options.restore_session, ::getpgrp(), ::getsid(0)}));
  }
  return refusals;
}

}  // namespace stasis::restart
