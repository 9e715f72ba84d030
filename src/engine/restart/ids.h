// The ladder by which the processes and threads of an image get their ids back: clone3(set_tid)
// where the kernel allows it, walking the pid counter where that is quick, private namespaces, and
// new ids where the user asked for them. Tried in this order; which one worked is told.
#pragma once

#include <vector>

#include "base/result.h"
#include "restart/passes.h"

namespace stasis::restart {

// A process (thread 0) or thread of the image, by its place there, that must have an id again.
struct IdWant {
  Pid id = 0;
  size_t process = 0;
  size_t thread = 0;
  bool operator==(const IdWant&) const = default;
};

// All ids of the image in the order of one walk of the pid counter: the root, what is above it
// ascending, then what is below (pure).
std::vector<IdWant> ids_in_walking_order(const model::Image& image);

// Ids that a counter at `last` gives out until it has passed all of `wants`, which are in walking
// order (pure). The counter wraps from `max` - 1 to 300.
u64 ids_to_walk(Pid last, const std::vector<IdWant>& wants, Pid max);

// Whether a counter that went on from `before` to `now` has passed `id` (pure).
bool has_passed(Pid before, Pid now, Pid id);

// Where the counter begins again after the highest id: the kernel's RESERVED_PIDS.
inline constexpr Pid kLowestId = 300;

// Whether walking is quicker than making namespaces and living with them (pure).
bool is_short_walk(u64 ids);

// The rungs that may be tried, in order (pure). `held`: some id is in use.
std::vector<IdWay> ways_to_try(const BuildOptions& options, bool held, bool short_walk);

// Everything is made empty: targets, threads, ids, ids_inside, inherited and way of `state` are
// filled. `descriptors` of ours are inherited. On error nothing remains.
Result<void> give_birth(BuildState& state, const std::vector<int>& descriptors);

}  // namespace stasis::restart
