// checkpoint() and check(): the passes from a request to a complete context file.
#include <fmt/format.h>

#include "base/guard.h"
#include "capture/buffered_pages.h"
#include "capture/other_writers.h"
#include "capture/outside_pipes.h"
#include "capture/outside_shares.h"
#include "capture/remarks.h"
#include "engine/attempt.h"
#include "engine/engine.h"
#include "engine/foresee.h"
#include "engine/scope.h"

namespace stasis::engine {

Result<std::vector<Refusal>> check(Pid target, Scope scope, bool check_restart) {
  return guarded(fmt::format("check process {}", target), [&]() -> Result<std::vector<Refusal>> {
    const std::vector<Pid> members = TRY(scope_members(target, scope));
    std::vector<Refusal> refusals = capture::survey(members, {});
    if (refusals.empty() && check_restart) refusals = restart_obstacles(members);
    return refusals;
  });
}

void Attempt::note_outsiders(const std::vector<Pid>& members) {
  for (auto* const describe : {capture::describe_outside_pipes, capture::describe_outside_shares}) {
    const auto sentences = describe(members);
    report_.notes.insert(report_.notes.end(), sentences.begin(), sentences.end());
  }
}

// Up to here everybody runs, or is parked in libcr.
Result<void> Attempt::prepare() {
  capture::allow_many_descriptors();
  TRY(claim_members());
  TRY(check_request(members_));
  // Callbacks may yet do away with what cannot be saved.
  if (!somebody_takes_part()) TRY(survey());
  TRY(open_destination());
  report_.notes = capture::remarks(TRY(members_.now()));
  if (request_.accepted) request_.accepted(TRY(members_.now()));
  // It takes a look at all processes of the machine, so while everybody runs.
  other_writers_ = capture::find_other_writers(TRY(members_.now()));
  TRY(gather());
  if (handshake_->anybody()) TRY(survey());
  note_outsiders(TRY(members_.now()));
  return {};
}

// From the freeze to a complete image under its name, or, where the programs may run on meanwhile,
// to an image that lacks only being written down safely.
Result<void> Attempt::save() {
  TRY(freeze());
  TRY(leave_out());
  TRY(capture());
  TRY(foresee());
  if (may_thaw_early()) {
    captured_->pages = TRY(capture::buffer_pages(captured_->image, *captured_->pages));
    TRY(thaw());
  }
  TRY(write());
  if (commits_frozen()) TRY(commit());
  return {};
}

Result<CheckpointReport> Attempt::run() {
  const std::string what = fmt::format("save process {}", request_.target);
  auto saved = guarded(what, [this] { return prepare(); });
  if (saved.ok()) saved = guarded(what, [this] { return save(); });
  if (!saved.ok()) {
    give_up(saved.error().code);
    return std::move(saved).take_error();
  }
  TRY(let_go());
  if (!commits_frozen()) TRY(commit());
  TRY(finish());
  report_.total_us = deadline_.passed_us();
  return std::move(report_);
}

Result<CheckpointReport> checkpoint(CheckpointRequest request) {
  return guarded("save it", [&] { return Attempt(std::move(request)).run(); });
}

}  // namespace stasis::engine
