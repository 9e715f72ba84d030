// What happens before anybody stands still: who belongs to the request, what speaks against it,
// where it goes, and the callbacks.
#include <fmt/format.h>
#include <limits.h>
#include <stasis/handshake.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/sys.h"
#include "engine/attempt.h"
#include "engine/foresee.h"
#include "engine/scope.h"
#include "proc/status.h"

namespace stasis::engine {
Result<void> Attempt::claim(const std::vector<Pid>& pids) {
  if (!claim_) claim_ = TRY(notify::Claim::take({}));
  auto claimed = claim_->add(std::span<const Pid>(pids));
  if (!claimed.ok() && claimed.error().code != EBUSY) TRY(check_traceable(pids));  // says why
  return claimed;
}

Result<void> Attempt::claim_members() {
  return claim_members(members_, deadline_);
}

Result<void> Attempt::claim_members(Members& members, const Deadline& deadline) {
  TRY(claim(TRY(members.now())));
  TRY(apply_tracer_rules(request_, members, deadline));
  return check_traceable(TRY(members.now()));
}

// What the request itself demands of its members.
Result<void> Attempt::check_request(const Members& whom) const {
  const std::vector<Pid> members = TRY(whom.now());
  const Pid self = request_.requester != 0 ? request_.requester : ::getpid();
  if (request_.prohibit_self && std::ranges::find(members, self) != members.end()) {
    return fail(EDEADLK, fmt::format("process {} would save itself, which it does not want",
                                     proc::describe(self)));
  }
  return request_.require_libcr ? check_libcr(whom) : Result<void>();
}

Result<void> Attempt::check_libcr(const Members& whom) const {
  constexpr i64 kNewbornMs = 500;  // a program that was just started may not have it yet
  constexpr timespec kPause = {.tv_sec = 0, .tv_nsec = 10'000'000};
  const Deadline patience(kNewbornMs);
  while (true) {
    const std::vector<Pid> members = TRY(whom.now());
    const auto blocks = notify::find_blocks(members);
    const auto lacking = std::ranges::find_if(members, [&](Pid pid) {
      return std::ranges::find(blocks, pid, &notify::Block::pid) == blocks.end();
    });
    if (lacking == members.end()) return {};
    if (patience.passed() || deadline_.passed()) {
      return fail(
          kNoSupport,
          fmt::format("process {} has neither libcr nor a stub of it", proc::describe(*lacking)),
          "Start it with `cr_run PROGRAM`, link it with libcr, or do without "
          "--require-libcr.");
    }
    (void)::nanosleep(&kPause, nullptr);
  }
}

bool Attempt::somebody_takes_part() const {
  const auto members = members_.now();
  if (!members) return false;
  return std::ranges::any_of(notify::find_blocks(*members), &notify::Block::takes_part);
}

Result<void> Attempt::survey() {
  const std::vector<Pid> members = TRY(members_.now());
  const std::vector<Refusal> refusals = capture::survey(members, options());
  if (!refusals.empty()) {
    return refused(fmt::format("process {} cannot be saved", proc::describe(members.front())),
                   refusals);
  }
  if (!request_.check_restart) return {};
  const std::vector<Refusal> later = restart_obstacles(members);
  if (later.empty()) return {};
  return not_restartable(proc::describe(members.front()), later);
}

Result<void> Attempt::open_destination() {
  if (request_.fd) {
    destination_.emplace(format::Destination::adopt(std::move(request_.fd)));
  } else {
    destination_.emplace(TRY(format::Destination::create(request_.file, request_.destination)));
  }
  report_.file = destination_->path();
  return {};
}

notify::Announcement Attempt::announcement() const {
  notify::Announcement said{.requester = request_.requester != 0 ? request_.requester : ::getpid(),
                            .target = request_.target,
                            .scope = static_cast<u32>(request_.scope),
                            .signal = request_.signal,
                            .destination = destination_->path()};
  if (said.destination.empty()) {
    const auto link = sys::read_link(fmt::format("/proc/self/fd/{}", destination_->fd()));
    if (link.ok() && link->starts_with('/')) said.destination = *link;
  } else if (!said.destination.starts_with('/')) {
    if (const auto here = sys::read_link("/proc/self/cwd"); here.ok()) {
      said.destination = *here + '/' + said.destination;
    }
  }
  return said;
}

bool Attempt::cancelled() const {
  return request_.write.progress && !request_.write.progress(0, 0);
}

// Callbacks run, and all threads of those that take part wait in libcr.
Result<void> Attempt::gather() {
  auto gathered = notify::Handshake::gather(
      TRY(members_.now()), announcement(),
      {.left_ms = [this] { return deadline_.left_ms(); },
       .cancelled = [this] { return cancelled(); },
       .late = &late_,
       .forward = [this](const notify::Forward& forward) { return take_in(forward); }});
  if (!gathered) return explain_late(std::move(gathered).take_error());
  handshake_ = std::move(gathered).take_value();
  return follow_restarts();
}

// What belongs to a cr_restart: the job that it waits for.
Result<bool> Attempt::add_jobs(Members& members) {
  bool wider = false;
  for (const auto& block : notify::find_blocks(TRY(members.now()))) {
    if (block.kind == CRI_KIND_RESTART) wider |= members.widen(Scope::kTree, block.pid);
  }
  return wider;
}

Result<void> Attempt::follow_restarts() {
  while (TRY(add_jobs(members_))) {
    TRY(claim_members());
    TRY(check_request(members_));
    auto added = handshake_->add(TRY(members_.now()));
    if (!added) return explain_late(std::move(added).take_error());
  }
  return {};
}

// What the threads that did not arrive in time are doing, in the words of who asked.
Error Attempt::explain_late(Error error) {
  constexpr i64 kLimitMs = 1000;
  if (late_.empty() || !request_.explain_late) return error;
  std::vector<Pid> pids, tids;
  for (const auto& [pid, tid] : late_) {
    tids.push_back(tid);
    if (std::ranges::find(pids, pid) == pids.end()) pids.push_back(pid);
  }
  late_.clear();
  auto frozen = trace::Freeze::take(pids, kLimitMs);
  if (!frozen) return error;
  const auto looked = capture::capture(*frozen, options());
  if (!looked) return error;
  const std::string words = request_.explain_late(looked->image, *looked->pages, tids);
  if (!words.empty()) error.what += "\n" + words;
  return error;
}

}  // namespace stasis::engine
