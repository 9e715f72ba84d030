// A member's way to being parked. Everything that changes the process is written while it stands
// still, and in an order in which our death at any line leaves a process that goes on by itself:
// the phase last, so that threads which were sent before it was written return at once.
#include "notify/member.h"

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/sys.h"
#include "notify/clock.h"
#include "proc/inner_ids.h"
#include "proc/status.h"
#include "trace/handler_entry.h"

namespace stasis::notify {
namespace {

// cr_checkpoint()'s flags (libcr.h).
constexpr u32 kTemporary = 1, kPermanent = 2, kOmit = 4;

// With all signals blocked, the C library's own included, a thread is inside the C library: not
// quite begun, or about to end. A signal would not reach it there, and no handler can run.
constexpr u64 kEverySignal = ~((u64{1} << (SIGKILL - 1)) | (u64{1} << (SIGSTOP - 1)));
// Who asks from outside of their pid namespace has no id in it: its first process stands for it.
constexpr Pid kInit = 1;
constexpr i64 kBeginningMs = 100;  // longer than any library takes
constexpr i64 kNoRoomMs = 2000;    // a thread on its way out, or a stack that is really full
// For a process whose engine died: libcr looks every second, and then needs no time.
constexpr i64 kLeavingMs = 3000, kToldLeavingMs = 500;

i64 freeze_limit(i64 left_ms) {
  constexpr i64 kAtMostMs = 10'000;
  return left_ms < 0 ? kAtMostMs : std::min(left_ms, kAtMostMs);
}

Result<trace::Freeze> freeze_one(Pid pid, i64 limit_ms) {
  return trace::Freeze::take(std::span(&pid, 1), freeze_limit(limit_ms));
}

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

Result<void> Member::advance(const Request& request, i64 left_ms) {
  if (stage_ == Stage::kParked || omitted_) beat();
  if (stage_ == Stage::kParked || is_over() || omitted_) return {};
  if (stage_ == Stage::kNew) return begin(request, left_ms);
  beat();
  wake_if_stopped();
  const auto head = look(request);
  if (is_over()) return {};
  if (!head) return head.error();
  note_forwards(*head);
  TRY(heed_answer(*head));
  if (omitted_) return {};
  const bool called = stage_ == Stage::kRequested || signalled_;
  if (head->fields.verdict != CRI_VERDICT_NONE ||
      (called && head->fields.phase == CRI_PHASE_IDLE)) {
    return fail(kTempFail,
                fmt::format("process {} has given up the checkpoint", proc::describe(pid())));
  }
  if (stage_ == Stage::kRequested) {
    return head->fields.phase == CRI_PHASE_REQUESTED ? Result<void>() : send(request, left_ms);
  }
  bool unsent = false;
  if (all_parked(unsent)) {
    stage_ = Stage::kParked;
    return {};
  }
  return unsent && now_ns() >= next_send_ns_ ? send(request, left_ms) : Result<void>();
}

Result<void> Member::begin(const Request& request, i64 left_ms) {
  const auto now = look(request);
  if (is_over()) return {};
  if (!now) return now.error();
  // As long as it cannot begin it is not stopped again and again.
  if (!TRY(check_idle(*now)) || left_ms == 0) return {};
  auto freeze = freeze_one(pid(), left_ms);
  if (!freeze) {
    if (freeze.error().code != ESRCH) return freeze.error();
    stage_ = Stage::kGone;
    return {};
  }
  trace::FrozenProcess& process = freeze->processes().front();
  const auto head = look(request);
  if (is_over()) return {};
  if (!head) return head.error();
  if (!notify::takes_part(*head)) {
    stage_ = Stage::kAside;
    return {};
  }
  if (!TRY(check_idle(*head))) return {};
  TRY(offer_answers(request, *head));
  TRY(write_request(request));
  begun_ = true;
  beat();
  stopped_ = process.stopped;
  stop_number_ = static_cast<u32>(request.number) | 1;
  TRY(write_stop(stopped_));
  for (const trace::FrozenThread& thread : process.threads) {
    const bool is_it = !thread.zombie && head->fields.callback_tid != 0 &&
                       inner_id(pid(), thread.tid) == head->fields.callback_tid;
    if (is_it) callback_thread_ = thread.tid;
  }
  if (callback_thread_ != 0) {
    stage_ = Stage::kRequested;
    TRY(write_field(thread(), block_.address, offsetof(cri_block, phase),
                    u32{CRI_PHASE_REQUESTED}));
  } else {
    TRY(send_threads(process, *head));
  }
  // Not before: without THREAD callbacks no thread goes on but into libcr.
  if (stopped_) (void)::kill(pid(), SIGCONT);
  return {};
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

Result<void> Member::send(const Request& request, i64 left_ms) {
  auto freeze = freeze_one(pid(), left_ms);
  if (!freeze) {
    if (!has_exited() && freeze.error().code != ESRCH) return freeze.error();
    stage_ = Stage::kGone;
    return {};
  }
  const auto head = look(request);
  if (is_over()) return {};
  if (!head) return head.error();
  return send_threads(freeze->processes().front(), *head);
}

Result<void> Member::send_threads(trace::FrozenProcess& process, const BlockHead& head) {
  constexpr i64 kPauseMs = 2;
  stage_ = Stage::kSent;
  next_send_ns_ = now_ns() + kPauseMs * kNsPerMs;
  const std::vector<proc::Area> areas = TRY(proc::read_maps(process.any_live_tid()));
  for (trace::FrozenThread& thread : process.threads) {
    if (thread.zombie || thread.tid == callback_thread_ || sent_.contains(thread.tid)) continue;
    if (TRY(send_thread(process, thread, head, areas))) sent_.insert(thread.tid);
  }
  if (signalled_) return {};
  if (sent_.empty() && callback_thread_ == 0) return {};  // nobody who could end it, if we died
  signalled_ = true;
  return write_field(process.any_live_tid(), block_.address, offsetof(cri_block, phase),
                     u32{CRI_PHASE_SIGNALS});
}

// False: not now.
Result<bool> Member::send_thread(trace::FrozenProcess& process, trace::FrozenThread& thread,
                                 const BlockHead& head, std::span<const proc::Area> areas) {
  const i64 since = deferred_ns_.try_emplace(thread.tid, now_ns()).first->second;
  const i64 waited_ms = (now_ns() - since) / kNsPerMs;
  // (In a stopped process it is one that still stands in the entry of an earlier checkpoint.)
  const bool blocks_all = (thread.blocked_signals & kEverySignal) == kEverySignal;
  if (blocks_all && !process.stopped && waited_ms < kBeginningMs) return false;
  constexpr int kSignal = 64;  // what BLCR's handlers were called for
  const auto entered = trace::enter_handler(process, thread,
                                            {.handler = {head.fields.entry},
                                             .restorer = {head.fields.restorer},
                                             .signal = kSignal,
                                             .value = head.fields.request},
                                            areas);
  if (entered.ok()) return true;
  const int code = entered.error().code;
  if (code == ESRCH || (code == EOPNOTSUPP && waited_ms < kNoRoomMs)) return false;
  return entered.error();
}

// What a callback gave to cr_checkpoint() instead of READY.
Result<void> Member::heed_answer(const BlockHead& head) {
  const u32 answer = head.fields.answer;
  const int code = static_cast<int>(answer >> 16);
  const std::string who = fmt::format("a callback of process {} (thread {})", proc::describe(pid()),
                                      head.fields.answer_tid);
  if ((answer & kPermanent) != 0) {
    permanent_ = true;
    return fail(code != 0 ? code : kPermFail, who + " refused the checkpoint for good");
  }
  if ((answer & kTemporary) != 0) {
    return fail(code != 0 ? code : kTempFail, who + " refused the checkpoint for now");
  }
  omitted_ = (answer & kOmit) != 0;
  return {};
}

// Shows that we live to those that cannot see us.
void Member::beat() {
  constexpr i64 kEveryMs = 500;
  if (visible_ || !begun_ || now_ns() < next_beat_ns_) return;
  next_beat_ns_ = now_ns() + kEveryMs * kNsPerMs;
  // It fails only if nobody is there any more, which the next look tells.
  (void)write_field(thread(), block_.address, offsetof(cri_block, beat),
                    static_cast<u32>(now_ns() / kNsPerMs));
}

// Somebody stops it just now: callbacks run all the same, and then it is stopped.
void Member::wake_if_stopped() {
  constexpr i64 kLookMs = 10;
  if (now_ns() < next_stop_look_ns_) return;
  next_stop_look_ns_ = now_ns() + kLookMs * kNsPerMs;
  const auto status = proc::read_status(pid(), thread());
  if (!status || status->state != 'T') return;
  if (!write_stop(true)) return;  // gone
  stopped_ = true;
  (void)::kill(pid(), SIGCONT);
}

}  // namespace stasis::notify
