// The walk itself. Ids are burnt here (threads of ours that exit at once: 36,000 a second where
// measured) for long stretches, and in the target's stub for short ones, which saves the stops.
#include "restart/id_counter.h"

#include <fmt/format.h>
#include <sched.h>
#include <signal.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "base/log.h"
#include "base/sys.h"
#include "restart/id_held.h"
#include "restart/id_make.h"

namespace stasis::restart {
namespace {

constexpr i64 kLimitNs = 20'000'000'000;  // 6 times what the ladder predicts at most
constexpr int kRoundsInUse = 3;           // after which an id in use is given up
constexpr Pid kShortGap = 16;             // ids that the stub burns in the middle of a script

i64 now_ns() {
  timespec time = {};
  (void)::clock_gettime(CLOCK_MONOTONIC, &time);  // cannot fail
  return time.tv_sec * 1'000'000'000 + time.tv_nsec;
}

bool is_free(Pid id) {
  return ::kill(id, 0) == -1 && sys::last_code() == ESRCH;
}

int exit_at_once(void*) {
  return 0;
}

bool is_stand_in(const BuildState& state, const Birth& birth) {
  return birth.thread == 0 && state.family.members[birth.member].role == Role::kStandIn;
}

// A thread of ours that has gone again when this returns: takes one id.
Result<Pid> burn_one() {
  alignas(16) std::array<std::byte, 4096> stack;  // ours waits (CLONE_VFORK) while it is in use
  constexpr int kFlags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
                         CLONE_SYSVSEM | CLONE_VFORK;
  return sys::check(::clone(exit_at_once, stack.data() + stack.size(), kFlags, nullptr), "make",
                    "a thread to pass over an id");
}

Result<Pid> read_number(const std::string& path, std::string_view text) {
  Pid number = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (problem != std::errc{}) return fail(EIO, fmt::format("{} has no number", path));
  return number;
}

// The longest stretch of `births` from `first` on that one script can make: one maker, short gaps.
std::vector<Order> next_batch(const BuildState& state, const std::vector<Birth>& births,
                              size_t first) {
  const size_t maker = maker_of(state.family, births[first]);
  std::vector<Order> batch = {{.birth = births[first]}};
  for (size_t i = first + 1; i < births.size(); ++i) {
    const Pid gap = births[i].id - births[i - 1].id - 1;
    if (maker_of(state.family, births[i]) != maker || gap < 0 || gap > kShortGap) break;
    if (!state.readiness->is_ready(births[i]) || is_stand_in(state, births[i])) break;
    Order order{.birth = births[i]};
    const Pid pass = CounterWalk::predecessor(births[i].id);
    if (pass > births[i - 1].id) {
      order.pass = pass;
      order.tries = static_cast<u64>(gap) + 1;
    }
    batch.push_back(order);
  }
  return batch;
}

struct Step {
  size_t made = 0;      // births from the first one on
  bool missed = false;  // the next one's id is gone for this round
};

// Any id is right that is nobody's.
Result<Step> make_helper(BuildState& state, CounterWalk& walk, const Birth& birth) {
  walk.note(TRY(make_stand_in(state, birth.member)));
  return Step{1, false};
}

// Makes births[first] and perhaps the next ones.
Result<Step> make_next(BuildState& state, CounterWalk& walk, const std::vector<Birth>& births,
                       size_t first) {
  TRY(walk.walk_to(births[first].id));
  if (is_stand_in(state, births[first])) return make_helper(state, walk, births[first]);
  if (!walk.is_next(births[first].id)) return Step{0, true};
  const Made made = TRY(make(state, IdDemand::kExpect, next_batch(state, births, first)));
  if (made.last != 0) walk.note(made.last);
  if (!made.missed && made.code != 0) {
    return sys::error_of(made.code, "make", name_of(state.family, births[first + made.count]));
  }
  return Step{made.count, made.missed};
}

// One round: from the counter upwards, once around; what was missed is returned. A birth whose
// maker is still to come waits for the next round, as does an id that others were quicker to take.
Result<std::vector<Birth>> walk_once(BuildState& state, CounterWalk& walk,
                                     std::vector<Birth> births) {
  const Pid start = walk.last();
  std::sort(births.begin(), births.end(), [&](const Birth& a, const Birth& b) {
    return way_up(start, a.id) < way_up(start, b.id);
  });
  std::vector<Birth> missed;
  bool moved = false;
  for (size_t i = 0; i < births.size();) {
    const bool passed = moved && has_passed(start, walk.last(), births[i].id);
    const bool lost = passed && !is_stand_in(state, births[i]);
    if (lost || !state.readiness->is_ready(births[i])) {
      missed.push_back(births[i++]);
      continue;
    }
    const Step step =
        passed ? TRY(make_helper(state, walk, births[i])) : TRY(make_next(state, walk, births, i));
    moved = moved || walk.last() != start;
    i += step.made;
    if (step.missed) missed.push_back(births[i++]);
  }
  return missed;
}

}  // namespace

Result<Pid> last_id() {
  const std::string path = "/proc/loadavg";
  const std::string text = TRY(sys::read_file(path));
  const size_t space = text.find_last_of(' ');
  if (space == std::string::npos) return fail(EIO, path + " has no fields");
  return read_number(path, std::string_view(text).substr(space + 1));
}

Result<Pid> id_limit() {
  const std::string path = "/proc/sys/kernel/pid_max";
  return read_number(path, TRY(sys::read_file(path)));
}

Result<CounterWalk> CounterWalk::begin() {
  return CounterWalk(TRY(last_id()), now_ns() + kLimitNs);
}

Pid CounterWalk::predecessor(Pid id) {
  Pid before = id - 1;
  while (before > kLowestId && !is_free(before)) --before;
  return before;
}

bool CounterWalk::is_next(Pid id) const {
  const Pid before = predecessor(id);
  return last_ >= before && last_ < id;
}

Result<void> CounterWalk::check_time() const {
  if (now_ns() < end_ns_) return {};
  return fail(ETIMEDOUT, "walking the pid counter takes too long: other programs take the ids");
}

Result<void> CounterWalk::walk_to(Pid id) {
  if (is_next(id)) return {};
  const Pid target = predecessor(id);
  while (true) {
    const Pid got = TRY(burn_one());
    const bool passed = has_passed(last_, got, target);
    last_ = got;
    if (passed) return {};  // at it, or, if somebody else got it, behind it
    if (got % 1024 == 0) TRY(check_time());
  }
}

Result<void> make_by_walking(BuildState& state, CounterWalk& walk) {
  std::vector<Birth> births = births_of(state.context.image, state.family);
  births.erase(births.begin());
  for (int round = 0; !births.empty(); ++round) {
    TRY(walk.check_time());
    for (const Birth& birth : births) {
      // Only who holds it round after round will keep it; others walk the counter like us.
      if (round < kRoundsInUse || is_stand_in(state, birth)) continue;
      const std::string holder = holder_of(birth.id);
      if (!holder.empty()) {
        return fail(EBUSY, fmt::format("found pid {} in use by {}", birth.id, holder));
      }
    }
    births = TRY(walk_once(state, walk, std::move(births)));
    if (!births.empty()) log::debug("missed {} ids: another round", births.size());
  }
  return {};
}

}  // namespace stasis::restart
