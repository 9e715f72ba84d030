// cr_forward_checkpoint(): processes that a callback wants to have saved as well. All that would
// refuse a request for them is asked while the callback waits; a refusal is the call's, and leaves
// the request as it was.
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

#include "base/sys.h"
#include "engine/attempt.h"
#include "proc/status.h"

namespace stasis::engine {
namespace {

// Only what the process that forwards could have asked for itself: otherwise a program could make
// root save, stop or kill anybody.
Result<void> check_rights(Pid asker, const std::vector<Pid>& added) {
  const auto own = proc::read_status(asker);
  if (!own || own->uids.empty()) {
    return fail(ESRCH, fmt::format("process {} has ended", asker));
  }
  if (own->uids[0] == 0) return {};
  for (const Pid pid : added) {
    const auto status = proc::read_status(pid);
    const auto owner = sys::stat(fmt::format("/proc/{}/status", pid));
    if (!status || !owner) continue;  // it has ended
    // The files of a process that is not dumpable belong to root.
    if (status->uids == own->uids && owner->st_uid == own->uids[0]) continue;
    return fail(EPERM, fmt::format("process {} forwards the checkpoint to process {}, which it "
                                   "could not have saved itself",
                                   proc::describe(asker), proc::describe(pid)));
  }
  return {};
}

std::vector<Pid> without(const std::vector<Pid>& all, const std::vector<Pid>& some) {
  std::vector<Pid> rest;
  std::ranges::copy_if(all, std::back_inserter(rest),
                       [&some](Pid pid) { return std::ranges::find(some, pid) == some.end(); });
  return rest;
}

// A tracer is not waited for as long as a request of its own would: other callbacks wait meanwhile.
Deadline patience(const Deadline& whole) {
  constexpr i64 kAtMostMs = 10'000;
  const i64 left = whole.left_ms();
  return Deadline(left < 0 ? kAtMostMs : std::min(left, kAtMostMs));
}

}  // namespace

Result<std::vector<Pid>> Attempt::take_in(const notify::Forward& forward) {
  const size_t claimed = claim_->size();
  auto wider = widen(forward);
  if (!wider.ok()) claim_->release_from(claimed);
  return wider;
}

Result<std::vector<Pid>> Attempt::widen(const notify::Forward& forward) {
  if (forward.scope > static_cast<u32>(Scope::kTree)) {
    return fail(EINVAL, fmt::format("there is no scope {}", forward.scope));
  }
  if (forward.target <= 0) return fail(ESRCH, "there is no such process");
  const Scope scope = static_cast<Scope>(forward.scope);
  TRY(Members(forward.target, scope).now());  // somebody has to be there
  const std::vector<Pid> before = TRY(members_.now());
  Members wider = members_;
  if (!wider.widen(scope, forward.target)) return before;
  while (TRY(add_jobs(wider))) {
  }
  const std::vector<Pid> added = without(TRY(wider.now()), before);
  TRY(check_rights(forward.by, added));
  TRY(claim_members(wider, patience(deadline_)));
  TRY(check_request(wider));
  const std::vector<Pid> all = TRY(wider.now());
  TRY(check_wider(all, without(all, before)));
  members_ = std::move(wider);
  return all;
}

// What cannot be saved because of `added`. Callbacks may yet do away with it.
Result<void> Attempt::check_wider(const std::vector<Pid>& wider, const std::vector<Pid>& added) {
  if (std::ranges::any_of(notify::find_blocks(added), &notify::Block::takes_part)) return {};
  std::vector<Refusal> refusals = capture::survey(wider, options());
  if (refusals.empty()) return {};
  const std::vector<Refusal> before = capture::survey(without(wider, added), options());
  std::erase_if(refusals, [&before](const Refusal& refusal) {
    return std::ranges::any_of(before, [&refusal](const Refusal& known) {
      return known.subject == refusal.subject && known.reason == refusal.reason;
    });
  });
  if (refusals.empty()) return {};
  return refused("processes that the checkpoint is forwarded to cannot be saved", refusals);
}

}  // namespace stasis::engine
