// Walking the pid counter of the kernel: ids are given out ascending, so making and ending threads
// of ours until the id before the wanted one was given out makes it the next. Others may take it
// in between; then the walk goes on with the next wanted one and comes back in another round.
#pragma once

#include "base/result.h"
#include "restart/ids.h"
#include "restart/passes.h"

namespace stasis::restart {

// The id that was given out last, and the first one that is never given out.
Result<Pid> last_id();
Result<Pid> id_limit();

class CounterWalk {
 public:
  static Result<CounterWalk> begin();

  // Makes `id` the next id to be given out, as far as one can tell. ETIMEDOUT when the time that
  // walks may take is over.
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
  CounterWalk(Pid last, i64 end_ns) : last_(last), end_ns_(end_ns) {}
  Pid last_;
  i64 end_ns_;  // CLOCK_MONOTONIC
};

// Makes the whole family but for the first member, which exists.
Result<void> make_by_walking(BuildState& state, CounterWalk& walk);

}  // namespace stasis::restart
