// What a member is seen to do: whether it lives, whether its threads are parked, who is late,
// whether it has left. And what it is told.
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>

#include "arch/registers.h"
#include "base/sys.h"
#include "notify/clock.h"
#include "notify/member.h"
#include "proc/status.h"

namespace stasis::notify {
namespace {

// The wait of a parked thread. It ends once a second; interrupted, it shows as restart_syscall, and
// the arguments are still there.
bool is_wait(i64 number, u64 word, RemoteAddr verdict) {
  return (number == SYS_futex || number == SYS_restart_syscall) && word == verdict.value;
}

}  // namespace

Pid Member::thread() const {
  return proc::live_thread(pid());
}

bool Member::has_exited() const {
  pollfd wait = {.fd = pidfd_.get(), .events = POLLIN, .revents = 0};
  return ::poll(&wait, 1, 0) == 1;
}

RemoteAddr Member::verdict() const {
  return block_.address + offsetof(cri_block, verdict);
}

// The block, or the stage that says that it is gone with its process or program.
Result<BlockHead> Member::look(const Request& request) {
  constexpr int kTries = 3;  // the thread asked may be the one that exits
  const Pid inside = inner_id(pid(), pid());
  for (int round = 0; round < kTries && !has_exited(); ++round) {
    auto head = read_head(thread(), block_.address);
    if (!head && head.error().code != ESRCH) return head;
    if (!head) continue;
    const bool ours = !begun_ || head->fields.request == request.number;
    if (ours && is_block(*head, block_.address, inside)) return head;
    break;
  }
  stage_ = Stage::kGone;
  return fail(ESRCH, fmt::format("process {} has ended or become another program", pid()));
}

bool Member::waits_for_verdict(Pid tid) const {
  const auto call = proc::read_syscall(pid(), tid);
  return call.ok() && !call->running && is_wait(call->number, call->args[0], verdict());
}

bool Member::all_parked(bool& unsent) {
  const auto tids = proc::read_threads(pid());
  if (!tids) return false;  // the next look says what has become of it
  bool parked = true;
  std::set<Pid> present(tids->begin(), tids->end());
  std::erase_if(sent_, [&](Pid tid) { return !present.contains(tid); });
  for (const Pid tid : *tids) {
    if (waits_for_verdict(tid)) continue;
    const auto status = proc::read_status(pid(), tid);
    if (!status || status->state == 'Z' || status->state == 'X') continue;
    parked = false;
    unsent |= tid != callback_thread_ && !sent_.contains(tid);
  }
  return parked;
}

void Member::unsettle() {
  if (stage_ == Stage::kParked) stage_ = Stage::kSent;
}

bool Member::is_parked(const trace::FrozenProcess& process, const Request& request) {
  const auto head = look(request);
  if (is_over() || !head) return is_over();
  if (head->fields.phase != CRI_PHASE_SIGNALS) return false;
  return std::all_of(process.threads.begin(), process.threads.end(), [&](const auto& thread) {
    return thread.zombie || is_wait(arch::call_number(thread.registers),
                                    arch::argument(thread.registers, 0), verdict());
  });
}

std::vector<LateThread> Member::late() const {
  std::vector<LateThread> late;
  if (is_settled()) return late;
  if (stage_ == Stage::kNew) return {{pid(), pid()}};
  if (stage_ == Stage::kRequested) return {{pid(), callback_thread_}};
  const auto tids = proc::read_threads(pid());
  if (!tids) return late;
  for (const Pid tid : *tids) {
    const auto status = proc::read_status(pid(), tid);
    if (!status || status->state == 'Z' || waits_for_verdict(tid)) continue;
    late.push_back({pid(), tid});
  }
  return late;
}

Result<void> Member::tell(int code) {
  if (!is_waiting_for_us()) return {};
  told_ = true;
  u32 verdict = code == 0 ? u32{CRI_VERDICT_CONTINUE} : u32{CRI_VERDICT_ABORT};
  if (omitted_) verdict = CRI_VERDICT_OMITTED;
  const Pid tid = thread();
  // In this order: the verdict is what threads look at.
  TRY(write_field(tid, block_.address, offsetof(cri_block, verdict_code), i32{code}));
  return write_field(tid, block_.address, offsetof(cri_block, verdict), verdict);
}

void Member::tell_running(int code) {
  constexpr i64 kLimitMs = 2000;
  if (!is_waiting_for_us()) return;
  if (!tell(code)) return;  // nobody there any more
  // Stopping and letting go makes every futex(2) wait begin anew and see the value. Where that
  // fails the threads see it within a second.
  const Pid pid = block_.pid;
  (void)trace::Freeze::take(std::span(&pid, 1), kLimitMs);
  // Nobody of it has come to libcr who would stop it.
  if (stopped_ && !signalled_ && callback_thread_ == 0 && write_stop(false)) {
    (void)::kill(pid, SIGSTOP);
  }
}

bool Member::has_left(const Request& request, int& failed) {
  if (is_over() || !begun_) return true;
  const auto head = look(request);
  if (is_over() || !head) return true;
  failed = head->fields.failed;
  if (head->fields.phase == CRI_PHASE_IDLE) return true;
  // Somebody has stopped it: it leaves when they let it.
  const auto status = proc::read_status(pid(), thread());
  return status.ok() && status->state == 'T';
}

}  // namespace stasis::notify
