// The members of one request, driven together: they may wait for each other in their callbacks, so
// each gets its next step as soon as it can take it, in rounds.
#include <fmt/format.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/sys.h"
#include "notify/clock.h"
#include "notify/state.h"
#include "proc/status.h"

namespace stasis::notify {
namespace {

constexpr i64 kShortestUs = 200, kLongestUs = 1000;  // between two looks
constexpr i64 kLeavingMs = 2000;                     // that a failed request waits for all to leave

u64 new_request_number() {
  timespec now = {};
  (void)::clock_gettime(CLOCK_REALTIME, &now);  // cannot fail
  return static_cast<u64>(now.tv_sec) * 1'000'000'000 + static_cast<u64>(now.tv_nsec);
}

std::string name_of(const LateThread& late) {
  const auto status = proc::read_status(late.pid, late.tid);
  return fmt::format("thread {} ({}) of process {}", late.tid, status.ok() ? status->name : "?",
                     proc::describe(late.pid));
}

}  // namespace

Handshake::State::State(Announcement announcement, Terms terms) : terms_(std::move(terms)) {
  request_.announcement = std::move(announcement);
  request_.number = new_request_number();
  request_.engine = ::getpid();
  const auto own = proc::read_stat(request_.engine);
  if (own.ok()) request_.engine_start = own->start_time_ticks;
}

Handshake::State::~State() {
  abort(kTempFail);
}

const Member* Handshake::State::find(Pid pid) const {
  const auto found = std::find_if(members_.begin(), members_.end(), [pid](const Member& member) {
    return member.pid() == pid && !member.is_over();
  });
  return found == members_.end() ? nullptr : &*found;
}

Result<void> Handshake::State::join(const std::vector<Block>& blocks) {
  for (const Block& block : blocks) {
    if (!block.takes_part || find(block.pid) != nullptr) continue;
    auto pidfd = sys::pidfd_open(block.pid);
    if (!pidfd && pidfd.error().code == ESRCH) continue;
    members_.emplace_back(block, TRY(std::move(pidfd)));
  }
  return {};
}

Result<void> Handshake::State::note_pids(std::span<const Pid> pids) {
  for (const Pid pid : pids) {
    if (processes_.contains(pid)) continue;
    auto pidfd = sys::pidfd_open(pid);
    if (!pidfd && pidfd.error().code == ESRCH) continue;
    processes_.emplace(pid, TRY(std::move(pidfd)));
  }
  return {};
}

Result<void> Handshake::State::add(std::span<const Pid> pids) {
  auto joined = note_pids(pids);
  if (joined.ok()) joined = join(find_blocks(pids));
  if (!joined) return give_up(std::move(joined).take_error());
  return settle();
}

// What callbacks have asked for meanwhile. Those who are taken in begin at once: the caller may
// wait for what their callbacks do.
Result<void> Handshake::State::decide_forwards() {
  for (size_t i = 0; i < members_.size(); ++i) {  // there may be more by the end
    while (const auto forward = members_[i].next_forward()) {
      Result<std::vector<Pid>> wider =
          terms_.forward ? terms_.forward(*forward)
                         : fail(EOPNOTSUPP, "checkpoints cannot be forwarded here");
      if (wider.ok()) {
        TRY(note_pids(*wider));
        TRY(join(find_blocks(*wider)));
      }
      const int code = wider.ok() ? 0 : wider.error().code;
      if (!members_[i].answer_forward(code) && code != 0 && code != ESRCH) return wider.error();
    }
  }
  return {};
}

// One step of everybody; whether all are parked.
Result<bool> Handshake::State::round() {
  bool settled = true;
  for (Member& member : members_) {
    TRY(member.advance(request_, terms_.left_ms()));
  }
  TRY(decide_forwards());
  for (const Member& member : members_) settled &= member.is_settled();
  return settled;
}

Result<void> Handshake::State::settle() {
  i64 pause_us = kShortestUs;
  while (true) {
    const auto settled = round();
    if (!settled) return give_up(settled.error());
    if (*settled) return {};
    if (terms_.left_ms() == 0) return give_up(too_late());
    if (cancelled()) return give_up(fail(ECANCELED, "stopped as asked"));
    sleep_us(pause_us);
    pause_us = std::min(kLongestUs, pause_us + pause_us / 4);
  }
}

Error Handshake::State::too_late() {
  constexpr size_t kMostNames = 8;
  for (const Member& member : members_) {
    if (member.is_busy()) return member.busy_error();
  }
  std::vector<LateThread> late;
  for (const Member& member : members_) {
    const auto its = member.late();
    late.insert(late.end(), its.begin(), its.end());
  }
  std::string names;
  for (size_t i = 0; i < std::min(late.size(), kMostNames); ++i) {
    names += fmt::format("{}{}", i == 0 ? "" : ", ", name_of(late[i]));
  }
  if (late.size() > kMostNames) names += fmt::format(" and {} more", late.size() - kMostNames);
  if (terms_.late != nullptr) *terms_.late = std::move(late);
  return fail(ETIMEDOUT,
              "callbacks or critical sections did not end within the time limit: " + names,
              "The programs go on as before. Give them more time (--time).");
}

// Tells everybody, or kills them where a callback said so.
Error Handshake::State::give_up(Error error) {
  const bool permanent = std::any_of(members_.begin(), members_.end(),
                                     [](const Member& member) { return member.is_permanent(); });
  if (permanent) kill_all();
  abort(error.code);
  return error;
}

void Handshake::State::abort(int code) {
  bool told = false;
  for (Member& member : members_) {
    told |= member.is_waiting_for_us();
    member.tell_running(code);
  }
  int failed = 0;
  const i64 end = now_ns() + kLeavingMs * kNsPerMs;
  while (told && !all_have_left(failed) && now_ns() < end) sleep_us(kShortestUs);
}

bool Handshake::State::all_have_left(int& failed) {
  bool all = true;
  for (Member& member : members_) {
    int its = 0;
    all &= member.has_left(request_, its);
    if (failed == 0) failed = its;
  }
  return all;
}

void Handshake::State::kill_all() {
  for (const auto& [pid, pidfd] : processes_) {
    (void)sys::pidfd_send_signal(pidfd.get(), SIGKILL);  // fails only for who has gone already
  }
}

Result<bool> Handshake::State::is_settled(trace::Freeze& freeze) {
  std::vector<Pid> pids;
  for (const trace::FrozenProcess& process : freeze.processes()) pids.push_back(process.pid);
  blocks_ = find_blocks(pids);
  bool settled = true;
  for (const trace::FrozenProcess& process : freeze.processes()) {
    const auto member = std::find_if(members_.begin(), members_.end(), [&](const Member& entry) {
      return entry.pid() == process.pid && entry.takes_part();
    });
    if (member == members_.end() || member->is_parked(process, request_)) continue;
    member->unsettle();
    settled = false;
  }
  const size_t before = members_.size();
  TRY(join(blocks_));
  return settled && members_.size() == before;
}

Result<void> Handshake::State::tell_success() {
  for (Member& member : members_) {
    if (request_.announcement.signal != 0) TRY(member.keep_running());
    TRY(member.tell(0));
  }
  return {};
}

Result<int> Handshake::State::await_idle() {
  int failed = 0;
  i64 pause_us = kShortestUs;
  while (!all_have_left(failed)) {
    if (terms_.left_ms() == 0) {
      return fail(ETIMEDOUT, "callbacks that run after the checkpoint have not returned yet");
    }
    if (cancelled()) return fail(ECANCELED, "stopped as asked");
    sleep_us(pause_us);
    pause_us = std::min(kLongestUs, pause_us + pause_us / 4);
  }
  return failed;
}

}  // namespace stasis::notify
