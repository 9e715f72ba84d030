// How a member hears of a request: what is asked of it first, and what is written into its block.
// Where a callback thread waits for it, that thread alone is stopped: the program's own are
// disturbed once, when they are sent into libcr.
// Essay: docs/design/handshake.md.
#include <fmt/format.h>
#include <signal.h>

#include <algorithm>
#include <cerrno>

#include "base/sys.h"
#include "notify/clock.h"
#include "notify/member.h"
#include "proc/inner_ids.h"
#include "proc/status.h"
#include "trace/thread_stop.h"

namespace stasis::notify {
namespace {

// Who asks from outside of their pid namespace has no id in it: its first process stands for it.
constexpr Pid kInit = 1;
// For a process whose engine died: libcr looks every second, and then needs no time.
constexpr i64 kLeavingMs = 3000, kToldLeavingMs = 500;

// As the processes see it that are in another pid namespace.
Pid inner_target(const Announcement& said, Pid member) {
  enum { kGroup = 1, kSession = 2 };  // cr_scope_t
  const bool is_process = said.scope != kGroup && said.scope != kSession;
  const auto ids = proc::read_inner_ids(is_process ? said.target : member);
  if (!ids) return said.target;
  return is_process ? ids->pid : said.scope == kGroup ? ids->group : ids->session;
}

bool engine_lives(const cri_block& block) {
  const auto stat = proc::read_stat(block.engine_pid);
  return block.engine_pid != 0 && stat.ok() && stat->start_time_ticks == block.engine_start;
}

}  // namespace

Result<void> Member::begin(const Request& request, i64 left_ms) {
  const auto now = look(request);
  if (is_over()) return {};
  if (!now) return now.error();
  // As long as it cannot begin it is not stopped again and again.
  if (!TRY(check_idle(*now)) || left_ms == 0) return {};
  if (const Pid listener = callback_thread(*now); listener != 0) {
    const auto stop = trace::ThreadStop::take(pid(), listener, freeze_limit(left_ms));
    // Otherwise the freeze finds out what is the matter, or wakes it up.
    if (stop.ok() && !stop->in_group_stop()) {
      if (TRY(begin_standing(request, nullptr))) return {};
    }
  }
  auto freeze = this->freeze(left_ms);
  if (!freeze) {
    if (freeze.error().code != ESRCH) return freeze.error();
    stage_ = Stage::kGone;
    return {};
  }
  (void)TRY(begin_standing(request, &freeze->processes().front()));
  return {};
}

// While a thread stands here, or all: execve(2) waits for it, so that the block is that of the
// program for as long. False: nothing is done, and all threads have to stand.
Result<bool> Member::begin_standing(const Request& request, trace::FrozenProcess* process) {
  const auto head = look(request);
  if (is_over()) return true;
  if (!head) return head.error();
  if (!notify::takes_part(*head)) {
    stage_ = Stage::kAside;
    return true;
  }
  if (!TRY(check_idle(*head))) return true;
  const Pid listener = callback_thread(*head);
  if (listener == 0 && process == nullptr) return false;
  TRY(offer_answers(request, *head));
  TRY(write_request(request));
  begun_ = true;
  beat();
  stopped_ = process != nullptr && process->stopped;
  stop_number_ = static_cast<u32>(request.number) | 1;
  TRY(write_stop(stopped_));
  callback_thread_ = listener;
  if (listener != 0) {
    stage_ = Stage::kRequested;
    TRY(write_field(thread(), block_.address, offsetof(cri_block, phase),
                    u32{CRI_PHASE_REQUESTED}));
  } else {
    TRY(send_threads(*process, *head));
  }
  // Not before: without THREAD callbacks no thread goes on but into libcr.
  if (stopped_) (void)::kill(pid(), SIGCONT);
  return true;
}

// Our id of the thread that waits for requests; 0: there is none.
Pid Member::callback_thread(const BlockHead& head) const {
  const auto tids = proc::read_threads(pid());
  if (head.fields.callback_tid == 0 || !tids) return 0;
  const auto is_it = [&](Pid tid) { return inner_id(pid(), tid) == head.fields.callback_tid; };
  const auto found = std::ranges::find_if(*tids, is_it);
  return found == tids->end() ? 0 : *found;
}

Result<void> Member::write_stop(bool stop) {
  return write_field(thread(), block_.address, offsetof(cri_block, stop),
                     stop ? stop_number_ : u32{0});
}

// False: not yet, as it is still leaving a checkpoint whose engine has died, or a thread that is on
// its way out of one that is over was met in its last steps.
Result<bool> Member::check_idle(const BlockHead& head) {
  const bool idle = head.fields.phase == CRI_PHASE_IDLE;
  busy_ = !idle || head.fields.present != 0;
  if (!busy_) return true;
  const bool told = !idle && head.fields.verdict != CRI_VERDICT_NONE;
  if (busy_since_ns_ == 0 || told != busy_told_) busy_since_ns_ = now_ns();
  busy_told_ = told;
  const i64 patience_ms = told ? kToldLeavingMs : kLeavingMs;
  const bool orphaned = !idle && !engine_lives(head.fields);
  if (orphaned) free_stopped();
  const bool may_wait = idle || orphaned;
  if (may_wait && now_ns() - busy_since_ns_ < patience_ms * kNsPerMs) return false;
  return busy_error();
}

// An engine that died had not yet continued it: stopped, libcr would never notice. It stops itself
// again when it has.
void Member::free_stopped() {
  const auto status = proc::read_status(pid(), thread());
  if (!status || status->state != 'T') return;
  constexpr u32 kAnyNumber = 1;
  if (write_field(thread(), block_.address, offsetof(cri_block, stop), kAnyNumber)) {
    (void)::kill(pid(), SIGCONT);
  }
}

Error Member::busy_error() const {
  return fail(EBUSY,
              fmt::format("process {} has not left an earlier checkpoint or restart yet",
                          proc::describe(pid())),
              "Its callbacks are still running. Wait for them.");
}

Result<void> Member::write_request(const Request& request) {
  const Announcement& said = request.announcement;
  cri_block block = {};
  block.request = request.number;
  block.engine_start = request.engine_start;
  // In another pid namespace we cannot be seen, or are somebody else.
  const auto theirs = sys::read_link(fmt::format("/proc/{}/ns/pid", thread()));
  const auto ours = sys::read_link("/proc/self/ns/pid");
  visible_ = theirs.ok() && ours.ok() && *theirs == *ours;
  block.engine_pid = visible_ ? request.engine : 0;
  block.requester = visible_ ? said.requester : kInit;
  block.target = visible_ ? said.target : inner_target(said, pid());
  block.scope = static_cast<i32>(said.scope);
  block.signal = said.signal;
  const size_t length = std::min(said.destination.size(), sizeof block.destination - 1);
  std::copy_n(said.destination.begin(), length, block.destination);

  const ByteView bytes = std::as_bytes(std::span(&block, 1));
  const auto write = [&](size_t from, size_t to) {
    return write_bytes(thread(), block_.address + from, bytes.subspan(from, to - from));
  };
  TRY(write(offsetof(cri_block, request), offsetof(cri_block, epoch)));
  TRY(write(offsetof(cri_block, answer), offsetof(cri_block, forward)));
  TRY(write(offsetof(cri_block, destination), offsetof(cri_block, destination) + length + 1));
  return write(offsetof(cri_block, verdict), offsetof(cri_block, request));
}

}  // namespace stasis::notify
