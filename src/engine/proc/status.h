// /proc/PID/status, stat and their like as structs. Parsers are pure (text in, struct out, an Error
// that quotes the line they could not read); read_*() are the thin readers. Unknown lines are
// ignored and lines that older kernels lack keep their default: proc(5).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/types.h"

namespace stasis::proc {

// /proc/PID[/task/TID]/status
struct Status {
  std::string name;
  char state = '?';
  Pid tgid = 0, pid = 0, parent = 0, tracer = 0;
  std::vector<u32> uids, gids;  // real, effective, saved, filesystem
  std::vector<u32> groups;
  std::vector<Pid> namespace_pids;  // NSpid; outermost (ours) first
  u32 umask = 0;
  u32 threads = 0;
  u64 pending = 0, shared_pending = 0, blocked = 0, ignored = 0, caught = 0;  // signal masks
  u64 cap_inheritable = 0, cap_permitted = 0, cap_effective = 0, cap_bounding = 0, cap_ambient = 0;
  bool no_new_privs = false;
  u32 seccomp = 0;              // 0 none, 1 strict, 2 filter
  std::string thread_features;  // x86_Thread_features: "shstk wrss"; empty where absent
  u64 untag_mask = ~u64{0};     // bits of an address that count (x86: LAM)
  u64 locked_kb = 0;
  bool thp_enabled = true;  // THP_enabled; prctl(PR_SET_THP_DISABLE) makes it 0
};
// Whether an answer of /proc says that the process or thread is no more, and not that we cannot
// look (EMFILE, ENOMEM, ...).
bool says_gone(const Error& error);

Result<Status> parse_status(std::string_view text);
Result<Status> read_status(Pid pid);
Result<Status> read_status(Pid pid, Pid tid);

// /proc/PID[/task/TID]/stat; addresses are 0 when the kernel hides them from us.
struct Stat {
  Pid pid = 0;
  std::string name;
  char state = '?';
  Pid parent = 0, group = 0, session = 0;
  i32 terminal = 0;  // tty_nr
  u32 flags = 0;     // PF_*
  i32 nice = 0;
  u64 start_time_ticks = 0;
  i32 processor = 0;
  RemoteAddr start_code, end_code, start_stack, start_data, end_data, start_brk;
  RemoteAddr arg_start, arg_end, env_start, env_end;
};
Result<Stat> parse_stat(std::string_view text);
Result<Stat> read_stat(Pid pid);
Result<Stat> read_stat(Pid pid, Pid tid);

// /proc/PID/task/TID/syscall: what the thread is in, before we disturb it.
struct SyscallState {
  bool running = false;  // on a CPU, or not in a call
  i64 number = -1;
  u64 args[6] = {};
  RemoteAddr sp, pc;
};
Result<SyscallState> parse_syscall(std::string_view text);
Result<SyscallState> read_syscall(Pid pid, Pid tid);

// /proc/PID/timers: POSIX timers without their times.
struct TimerEntry {
  i32 id = 0;
  i32 signal = 0;
  RemoteAddr value;
  i32 notify = 0;  // SIGEV_*, SIGEV_THREAD_ID included
  Pid target = 0;  // the pid, or the tid with SIGEV_THREAD_ID
  i32 clock = 0;
};
Result<std::vector<TimerEntry>> parse_timers(std::string_view text);
Result<std::vector<TimerEntry>> read_timers(Pid pid);

// /proc/PID/limits, by RLIMIT_* number (its lines are in that order); ~0: unlimited. prlimit(2)
// would need CAP_SYS_RESOURCE for another user's process; the file is readable by everybody.
struct Limit {
  u64 soft = 0, hard = 0;
};
Result<std::vector<Limit>> parse_limits(std::string_view text);
Result<std::vector<Limit>> read_limits(Pid pid);

// Threads and children:
Result<std::vector<Pid>> read_threads(Pid pid);
Result<std::vector<Pid>> read_children(Pid pid);  // of all its threads; zombies included
Result<u64> read_personality(Pid pid);            // /proc/PID/personality
Result<i32> read_oom_score_adj(Pid pid);
// Of a security module (attr/current), of auditing (loginuid): none where the kernel has neither.
std::string read_label(Pid pid);
std::optional<u32> read_login(Pid pid);
std::optional<u32> read_coredump_filter(Pid pid);
// /proc/PID/timens_offsets: what the time namespace adds to the clocks of the machine; 0 without.
// (Of the namespace for children, which is the process's own unless it has just made one.)
struct TimeOffsets {
  i64 monotonic_ns = 0, boottime_ns = 0;
  bool operator==(const TimeOffsets&) const = default;
};
Result<TimeOffsets> parse_time_offsets(std::string_view text);
TimeOffsets read_time_offsets(Pid pid);
// A thread through which /proc shows the process: the leader, or if it has exited before the others
// (pthread_exit in main) one that lives. The leader again when none does.
Pid live_thread(Pid pid);
// Whether a process exists, zombie or not.
bool exists(Pid pid);
// Name for messages: "4711 (sleep)", or "4711" when it cannot be read.
std::string describe(Pid pid);

}  // namespace stasis::proc
