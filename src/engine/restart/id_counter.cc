// The walk itself. Long stretches are passed over by all processors (id_burner.cc), short of the
// wanted id, as several together cannot stop exactly; the last few ids one by one, here, or in the
// target's stub between two births, which saves the stops.
// Essay: docs/design/pids.md.
#include "restart/id_counter.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>

#include "base/log.h"
#include "base/sys.h"
#include "restart/id_held.h"
#include "restart/id_make.h"

namespace stasis::restart {
namespace {

constexpr int kRoundsInUse = 3;    // after which an id in use is given up
constexpr Pid kShortGap = 16;      // ids that the stub burns in the middle of a script
constexpr u64 kOneByOne = 64;      // ids that are left before the wanted one when a rush ends
constexpr u64 kMeasured = 1024;    // ids by which the rate is measured: some milliseconds
constexpr u64 kMostAtOnce = 8192;  // between two looks at the counter: less than 0.1 s

i64 now_ns() {
  timespec time = {};
  (void)::clock_gettime(CLOCK_MONOTONIC, &time);  // cannot fail
  return time.tv_sec * 1'000'000'000 + time.tv_nsec;
}

// A name without a file that only one can have, and that goes with him: of this user, in this pid
// namespace. Somebody else who takes it makes walks impossible for no longer than they may last.
Result<UniqueFd> await_turn(i64 most_ms) {
  constexpr timespec kPause = {.tv_sec = 0, .tv_nsec = 10'000'000};
  const struct stat space = TRY(sys::stat("/proc/self/ns/pid"));
  const std::string name = fmt::format("stasis-pid-walk-{}-{}", space.st_ino, ::geteuid());
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::copy(name.begin(), name.end(), address.sun_path + 1);  // 0 in front: no file
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  UniqueFd turn(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const i64 end_ns = now_ns() + most_ms * 1'000'000;
  // The address is a structure for each family, and bind(2) takes them all.
  const auto* const any = reinterpret_cast<const sockaddr*>(&address);  // NOLINT
  while (turn && ::bind(turn.get(), any, length) != 0) {
    if (sys::last_code() != EADDRINUSE) break;  // then it is as it would be without turns
    if (now_ns() >= end_ns) {
      return fail(ETIMEDOUT, fmt::format("other restarts of this user have been walking the pid "
                                         "counter for {} s",
                                         most_ms / 1000));
    }
    (void)::nanosleep(&kPause, nullptr);  // waking early is harmless
  }
  return turn;
}

bool is_stand_in(const BuildState& state, const Birth& birth) {
  return birth.thread == 0 && state.family.members[birth.member].role == Role::kStandIn;
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

CounterWalk::CounterWalk(Pid last, Pid max, IdBurner burner, WalkLimits limits, UniqueFd turn)
    : last_(last),
      max_(max),
      burner_(burner),
      limits_(std::move(limits)),
      turn_(std::move(turn)),
      end_ns_(now_ns() + limits_.most_ms * 1'000'000) {}

Result<CounterWalk> CounterWalk::begin(const std::vector<Birth>& order, WalkLimits limits) {
  const Pid max = TRY(id_limit());
  UniqueFd turn = TRY(await_turn(limits.predicted_ms));
  const Pid start = TRY(last_id());
  for (const Birth& birth : order) {
    if (auto why = why_unreachable(birth.id, start, max)) return fail(ERANGE, *why);
  }
  const u64 ids = ids_to_walk(start, order, max);
  CounterWalk walk(start, max, TRY(IdBurner::probe()), std::move(limits), std::move(turn));
  walk.total_ = ids;
  TRY(walk.measure(ids));
  const double seconds = walk.seconds_for(ids);
  log::debug("{} ids to walk, {:.0f} a second", ids, walk.burner_.rate());
  if (seconds * 1000 <= static_cast<double>(walk.limits_.predicted_ms)) return walk;
  return fail(ETIMEDOUT, fmt::format("walking the pid counter would take about {:.0f} s ({} ids at "
                                     "{:.0f} a second), more than the {:.0f} s that it may",
                                     seconds, ids, walk.burner_.rate(),
                                     static_cast<double>(walk.limits_.predicted_ms) / 1000));
}

// The ids that it takes are part of the walk, so that it may not take too many.
Result<void> CounterWalk::measure(u64 ids) {
  if (ids <= 4 * kMeasured) return {};
  const bool long_one = limits_.predicted_ms >= kLongWalkMs;  // worth a better measure
  TRY(burner_.burn(long_one && ids > 64 * kMeasured ? 16 * kMeasured : kMeasured));
  last_ = TRY(last_id());
  return {};
}

double CounterWalk::seconds_for(u64 ids) const {
  const double rate = burner_.rate();
  return rate <= 0 ? 0 : static_cast<double>(ids) / rate;
}

Pid CounterWalk::predecessor(Pid id) {
  Pid before = id - 1;
  while (before > kLowestId && is_held(before)) --before;
  return before;
}

bool CounterWalk::is_next(Pid id) const {
  const Pid before = predecessor(id);
  return last_ >= before && last_ < id;
}

Result<void> CounterWalk::check_time() const {
  if (now_ns() < end_ns_) return {};
  return fail(ETIMEDOUT, fmt::format("walking the pid counter took more than the {:.0f} s that it "
                                     "may: other programs take the ids",
                                     static_cast<double>(limits_.most_ms) / 1000));
}

Result<void> CounterWalk::show() {
  TRY(check_time());
  total_ = std::max(total_, done_);
  if (!limits_.progress || limits_.progress(done_, total_)) return {};
  return fail(ECANCELED, "given up while walking the pid counter");
}

// To a few ids before `target`, or behind it if somebody else got it. Each step is half of the way
// that is left, so that others would have to be as fast as all our processors to get us past it.
Result<void> CounterWalk::rush_to(Pid target) {
  const u64 way = ids_between(last_, target, max_);
  const auto left_ms = static_cast<double>(end_ns_ - now_ns()) / 1e6;
  if (way > kMostAtOnce && seconds_for(way) * 1000 > left_ms) {
    return fail(ETIMEDOUT, fmt::format("walking the pid counter would take {:.0f} s more: another "
                                       "program took the id that was wanted",
                                       seconds_for(way)));
  }
  while (true) {
    TRY(show());
    const u64 left = ids_between(last_, target, max_);
    if (left <= kOneByOne) return {};
    TRY(burner_.burn(std::min(left / 2, kMostAtOnce)));
    const Pid now = TRY(last_id());
    const u64 moved = now == last_ ? 0 : ids_between(last_, now, max_);
    done_ += moved;
    last_ = now;
    if (moved >= left) return {};
  }
}

Result<void> CounterWalk::walk_to(Pid id) {
  if (is_next(id)) return {};
  const Pid target = predecessor(id);
  if (target == last_) return {};
  const u64 way = ids_between(last_, target, max_);
  const u64 before = done_;
  TRY(rush_to(target));
  while (done_ - before < way) {
    const Pid got = TRY(burn_one());
    done_ += got == last_ ? 0 : ids_between(last_, got, max_);
    last_ = got;
    if (got % 1024 == 0) TRY(show());
  }
  return {};  // at it, or, if somebody else got it, behind it
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
