// A member's way to being parked. Everything that changes the process is written while it stands
// still, and in an order in which our death at any line leaves a process that goes on by itself:
// the phase last, so that threads which were sent before it was written return at once.
// Essay: docs/design/handshake.md.
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
constexpr i64 kBeginningMs = 100;  // longer than any library takes
constexpr i64 kNoRoomMs = 2000;    // a thread on its way out, or a stack that is really full

}  // namespace

i64 freeze_limit(i64 left_ms) {
  constexpr i64 kAtMostMs = 10'000;
  return left_ms < 0 ? kAtMostMs : std::min(left_ms, kAtMostMs);
}

Result<trace::Freeze> Member::freeze(i64 left_ms) const {
  const Pid pid = block_.pid;
  return trace::Freeze::take(std::span(&pid, 1), freeze_limit(left_ms));
}

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

Result<void> Member::send(const Request& request, i64 left_ms) {
  auto freeze = this->freeze(left_ms);
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
