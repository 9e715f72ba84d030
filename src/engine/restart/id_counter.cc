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

// The longest stretch of `wants` from `first` on that one script can make: one creator, short gaps.
std::vector<Order> next_batch(const model::Image& image, const std::vector<IdWant>& wants,
                              size_t first) {
  const size_t creator = creator_of(image, wants[first]);
  std::vector<Order> batch = {{.want = wants[first]}};
  for (size_t i = first + 1; i < wants.size(); ++i) {
    const Pid gap = wants[i].id - wants[i - 1].id - 1;
    if (creator_of(image, wants[i]) != creator || gap < 0 || gap > kShortGap) break;
    Order order{.want = wants[i]};
    const Pid pass = CounterWalk::predecessor(wants[i].id);
    if (pass > wants[i - 1].id) {
      order.pass = pass;
      order.tries = static_cast<u64>(gap) + 1;
    }
    batch.push_back(order);
  }
  return batch;
}

// One round: from the counter upwards; what was missed is returned.
Result<std::vector<IdWant>> walk_once(BuildState& state, CounterWalk& walk,
                                      const std::vector<IdWant>& wants) {
  const model::Image& image = state.context.image;
  std::vector<IdWant> missed;
  for (size_t i = 0; i < wants.size();) {
    // A child whose parent, or a thread whose process, is still to come: next round.
    const size_t creator = creator_of(image, wants[i]);
    if (!state.ids.contains(image.processes[creator].pid)) {
      missed.push_back(wants[i++]);
      continue;
    }
    TRY(walk.walk_to(wants[i].id));
    if (!walk.is_next(wants[i].id)) {
      missed.push_back(wants[i++]);
      continue;
    }
    const Made made = TRY(make(state, IdDemand::kExpect, next_batch(image, wants, i)));
    if (made.last != 0) walk.note(made.last);
    i += made.count;
    if (made.missed) {
      missed.push_back(wants[i++]);
    } else if (made.code != 0) {
      return sys::error_of(made.code, "make", fmt::format("thread or process {}", wants[i].id));
    }
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

Result<void> make_by_walking(BuildState& state, CounterWalk& walk, std::vector<IdWant> wants) {
  for (int round = 0; !wants.empty(); ++round) {
    TRY(walk.check_time());
    for (const IdWant& want : wants) {
      // Only who holds it round after round will keep it; others walk the counter like us.
      if (round < kRoundsInUse || is_free(want.id)) continue;
      return fail(EBUSY, fmt::format("found pid {} in use", want.id));
    }
    wants = TRY(walk_once(state, walk, wants));
    if (!wants.empty()) log::debug("missed {} ids: another round", wants.size());
  }
  return {};
}

}  // namespace stasis::restart
