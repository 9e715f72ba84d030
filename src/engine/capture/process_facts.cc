// model::Process from outside: /proc/PID/status, stat and links, prlimit(2), PTRACE_PEEKSIGINFO.
#include <fmt/format.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include <cstring>

#include "arch/cpu_features.h"
#include "base/sys.h"
#include "capture/facts.h"
#include "proc/exit.h"
#include "proc/status.h"
#include "trace/ptrace.h"

namespace stasis::capture {
namespace {

Result<std::vector<model::ResourceLimit>> limits_of(Pid pid) {
  std::vector<model::ResourceLimit> limits;
  for (const proc::Limit& limit : TRY(proc::read_limits(pid))) {
    limits.push_back(
        {.which = static_cast<i32>(limits.size()), .soft = limit.soft, .hard = limit.hard});
  }
  return limits;
}

model::Credentials credentials_of(const proc::Status& status) {
  return {.uids = status.uids,
          .gids = status.gids,
          .groups = status.groups,
          .effective = status.cap_effective,
          .permitted = status.cap_permitted,
          .inheritable = status.cap_inheritable,
          .bounding = status.cap_bounding,
          .ambient = status.cap_ambient,
          .securebits = 0};
}

i64 clock_ns(clockid_t clock) {
  timespec now = {};
  (void)::clock_gettime(clock, &now);  // the three clocks asked for always exist
  return static_cast<i64>(now.tv_sec) * 1'000'000'000 + now.tv_nsec;
}

std::string first_line(const Result<std::string>& text) {
  return text.ok() ? text->substr(0, text->find('\n')) : std::string();
}

// A process in a pid namespace below ours knows itself by another number than we do.
Pid inside_id(const proc::Status& status) {
  return status.namespace_pids.empty() ? status.pid : status.namespace_pids.back();
}

}  // namespace

namespace {

Result<model::Process> facts_of(Pid pid, Pid live) {
  const proc::Status status = TRY(proc::read_status(pid));
  const proc::Stat stat = TRY(proc::read_stat(pid));
  model::Process result;
  result.pid = inside_id(status);
  result.parent = status.parent;
  result.group = stat.group;
  result.session = stat.session;
  result.exit_signal = TRY(proc::read_exit(pid)).exit_signal;
  // Of a thread that lives: those of a first thread that has ended are what they were then.
  const proc::Status living = TRY(proc::read_status(pid, live));
  result.credentials = credentials_of(living);
  result.working_directory = TRY(sys::read_link(fmt::format("/proc/{}/cwd", live)));
  result.root_directory = TRY(sys::read_link(fmt::format("/proc/{}/root", live)));
  result.umask = living.umask;
  result.personality = TRY(proc::read_personality(live));
  result.oom_score_adj = TRY(proc::read_oom_score_adj(pid));
  result.label = proc::read_label(live);
  result.login = proc::read_login(live);
  result.memory.coredump_filter = proc::read_coredump_filter(live);
  result.limits = TRY(limits_of(live));
  return result;
}

}  // namespace

Result<model::Process> process_facts(trace::FrozenProcess& process) {
  const Pid live = process.any_live_tid();
  model::Process result = TRY(facts_of(process.pid, live));
  result.stopped = process.stopped;
  result.stop_signal = process.stop_signal;
  return result;
}

Result<model::Process> visible_facts(Pid pid) {
  model::Process result = TRY(facts_of(pid, proc::live_thread(pid)));
  for (const Pid tid : TRY(proc::read_threads(pid))) {
    auto thread = visible_thread_facts(pid, tid);
    if (thread) result.threads.push_back(std::move(*thread));  // else it has ended
  }
  return result;
}

Result<std::vector<Bytes>> pending_signals(Pid tid, bool process_wide) {
  std::vector<Bytes> pending;
  for (const siginfo_t& info : TRY(trace::peek_signals(tid, process_wide))) {
    const ByteView bytes = std::as_bytes(std::span(&info, 1));
    pending.emplace_back(bytes.begin(), bytes.end());
  }
  return pending;
}

Result<model::MemoryMarks> memory_marks(const trace::FrozenProcess& process) {
  const proc::Stat stat = TRY(proc::read_stat(process.pid, process.any_live_tid()));
  model::MemoryMarks marks;
  marks.start_code = stat.start_code;
  marks.end_code = stat.end_code;
  marks.start_data = stat.start_data;
  marks.end_data = stat.end_data;
  marks.start_brk = stat.start_brk;
  marks.start_stack = stat.start_stack;
  marks.arg_start = stat.arg_start;
  marks.arg_end = stat.arg_end;
  marks.env_start = stat.env_start;
  marks.env_end = stat.env_end;
  return marks;
}

Result<model::Origin> origin_facts(const trace::FrozenProcess& process,
                                   const std::vector<proc::Area>& areas) {
  utsname names = {};
  TRY(sys::check(::uname(&names), "ask", "the system's name"));
  model::Origin origin;
  origin.stasis_version = STASIS_VERSION;
  origin.created_ns = clock_ns(CLOCK_REALTIME);
  const proc::TimeOffsets theirs = proc::read_time_offsets(process.any_live_tid());
  const proc::TimeOffsets ours = proc::read_time_offsets(::getpid());
  origin.monotonic_offset_ns = theirs.monotonic_ns;
  origin.boottime_offset_ns = theirs.boottime_ns;
  origin.monotonic_ns = clock_ns(CLOCK_MONOTONIC) + theirs.monotonic_ns - ours.monotonic_ns;
  origin.boottime_ns = clock_ns(CLOCK_BOOTTIME) + theirs.boottime_ns - ours.boottime_ns;
  origin.boot_id = first_line(sys::read_file("/proc/sys/kernel/random/boot_id"));
  origin.hostname = names.nodename;
  origin.kernel_release = names.release;
  origin.architecture = names.machine;
  origin.page_size = kPageSize;
  origin.cpu_features = arch::cpu_features();
  origin.xcr0 = arch::xcr0();
  origin.cpus = static_cast<u32>(::sysconf(_SC_NPROCESSORS_ONLN));
  for (const proc::Area& area : areas) {
    if (area.path != "[vdso]") continue;
    origin.vdso.resize(area.length());
    TRY(process.memory.read(area.start, origin.vdso));
  }
  return origin;
}

}  // namespace stasis::capture
