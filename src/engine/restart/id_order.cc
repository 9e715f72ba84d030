// The arithmetic of ids: orders, distances on the pid counter's circle, and which rungs of the
// ladder there are. Pure.
#include <algorithm>
#include <limits>

#include "restart/ids.h"

namespace stasis::restart {
namespace {

constexpr u64 kIdsPerSecond = 36'000;  // measured; a busy machine is several times slower
constexpr u64 kShortWalkSeconds = 3;

}  // namespace

u64 way_up(Pid last, Pid id) {
  constexpr u64 kCircle = std::numeric_limits<Pid>::max();
  return id > last ? static_cast<u64>(id - last) : kCircle - static_cast<u64>(last - id);
}

u64 ids_to_walk(Pid last, const std::vector<Birth>& order, Pid max) {
  u64 steps = 0;
  for (const Birth& birth : order) {
    if (birth.id > last) {
      steps += static_cast<u64>(birth.id - last);
    } else {
      steps += static_cast<u64>(std::max(0, max - last - 1)) +
               static_cast<u64>(std::max(1, birth.id - kLowestId + 1));
    }
    last = birth.id;
  }
  return steps;
}

bool is_short_walk(u64 ids) {
  return ids <= kIdsPerSecond * kShortWalkSeconds;
}

std::vector<IdWay> ways_to_try(const BuildOptions& options, bool held, bool short_walk) {
  if (!options.restore_pids) return {IdWay::kNew};
  std::vector<IdWay> ways;
  if (!held) ways.push_back(IdWay::kSetTid);
  if (!held && short_walk) ways.push_back(IdWay::kCounter);
  const bool elsewhere = options.allow_namespaces && (!held || options.namespaces_if_held);
  if (elsewhere) ways.push_back(IdWay::kNamespaces);
  return ways;
}

bool has_passed(Pid before, Pid now, Pid id) {
  if (before <= now) return before < id && id <= now;
  return id > before || id <= now;  // it wrapped
}

}  // namespace stasis::restart
