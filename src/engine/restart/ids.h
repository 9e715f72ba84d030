// The ladder by which the processes and threads of an image get their ids back: clone3(set_tid)
// where the kernel allows it, walking the pid counter where that is quick, private namespaces, a
// long walk where there are none, and new ids where the user asked for them. Tried in this order;
// which one worked is told.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "restart/family.h"
#include "restart/passes.h"

namespace stasis::restart {

// How far a counter at `last` is from `id`, by which ids can be sorted (pure). It is not a number
// of ids: where the counter wraps does not matter for that.
u64 way_up(Pid last, Pid id);

// Ids that a counter at `last` gives out until it has given out `id` (pure). It wraps from `max` -
// 1 to 300.
u64 ids_between(Pid last, Pid id, Pid max);
// ... until it has passed all of `order` one after the other (pure).
u64 ids_to_walk(Pid last, const std::vector<Birth>& order, Pid max);

// Why a counter at `last` never gives out `id`; nothing: it does (pure).
std::optional<std::string> why_unreachable(Pid id, Pid last, Pid max);

// Whether a counter that went on from `before` to `now` has passed `id` (pure).
bool has_passed(Pid before, Pid now, Pid id);

// Where the counter begins again after the highest id: the kernel's RESERVED_PIDS.
inline constexpr Pid kLowestId = 300;

// The steps of the ladder. A walk is tried twice: before namespaces if it is short, and as the last
// resort, which takes its time.
enum class Rung { kSetTid, kShortWalk, kNamespaces, kLongWalk, kNew };

// The rungs that may be tried, in order (pure). `held`: some id is in use.
std::vector<Rung> rungs_to_try(const BuildOptions& options, bool held);

// What a rung does (pure).
IdWay way_of(Rung rung);

// Everybody is made, empty: family, born, ids, ids_inside, inherited and way of `state` are filled.
// `descriptors` of ours are inherited.
Result<void> give_birth(BuildState& state, const std::vector<int>& descriptors);

}  // namespace stasis::restart
