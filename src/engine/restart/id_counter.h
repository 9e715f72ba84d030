// Walking the pid counter of the kernel: ids are given out ascending, so passing over them until
// the id before the wanted one was given out makes it the next. Others may take it in between; then
// the walk goes on with the next wanted one and comes back in another round.
#pragma once

#include <functional>

#include "base/result.h"
#include "base/unique_fd.h"
#include "restart/id_burner.h"
#include "restart/ids.h"
#include "restart/passes.h"

namespace stasis::restart {

struct WalkLimits {
  i64 predicted_ms = 0;  // a walk that would take longer is not begun
  i64 most_ms = 0;       // ... and one that does take longer is given up
  // Called some times a second, in ids; false: give up (ECANCELED). May be empty.
  std::function<bool(u64 done, u64 total)> progress;
};

class CounterWalk {
 public:
  // Waits for other restarts of this user that walk, as two would push the counter past each
  // other's ids: for `predicted_ms` at most. Measures how fast ids can be passed over and says what
  // it predicts for `order`: ETIMEDOUT when the walk would be too long, ERANGE when the counter
  // never comes to one of the ids.
  static Result<CounterWalk> begin(const std::vector<Birth>& order, WalkLimits limits);

  // Makes `id` the next id to be given out, as far as one can tell. ETIMEDOUT when the time that
  // walks may take is over, or would be before the walk gets there.
  Result<void> walk_to(Pid id);
  // Tells the walk what the kernel gave to somebody else's clone.
  void note(Pid last) { last_ = last; }
  [[nodiscard]] Pid last() const { return last_; }
  // The nearest id below `id` that is free, which must be given out before it.
  [[nodiscard]] static Pid predecessor(Pid id);
  // Whether all ids between the last one and `id` are in use: the next one is `id`.
  [[nodiscard]] bool is_next(Pid id) const;
  Result<void> check_time() const;

 private:
  CounterWalk(Pid last, Pid max, IdBurner burner, WalkLimits limits, UniqueFd turn);
  Result<void> measure(u64 ids);
  Result<void> show();
  Result<void> rush_to(Pid target);
  [[nodiscard]] double seconds_for(u64 ids) const;

  Pid last_;
  Pid max_;  // the first one that is never given out
  IdBurner burner_;
  WalkLimits limits_;
  UniqueFd turn_;  // of all restarts of this user
  i64 end_ns_;     // CLOCK_MONOTONIC
  u64 done_ = 0;   // ids passed so far
  u64 total_ = 0;  // ... of, as far as is known
};

// Makes the whole family but for the first member, which exists.
Result<void> make_by_walking(BuildState& state, CounterWalk& walk);

}  // namespace stasis::restart
