// The arithmetic of ids: orders, distances on the pid counter's circle, and which rungs of the
// ladder there are. Pure.
#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "restart/ids.h"

namespace stasis::restart {

u64 way_up(Pid last, Pid id) {
  constexpr u64 kCircle = std::numeric_limits<Pid>::max();
  return id > last ? static_cast<u64>(id - last) : kCircle - static_cast<u64>(last - id);
}

u64 ids_between(Pid last, Pid id, Pid max) {
  if (id > last) return static_cast<u64>(id - last);
  return static_cast<u64>(std::max(0, max - last - 1)) +
         static_cast<u64>(std::max(1, id - kLowestId + 1));
}

u64 ids_to_walk(Pid last, const std::vector<Birth>& order, Pid max) {
  u64 steps = 0;
  for (const Birth& birth : order) {
    steps += ids_between(last, birth.id, max);
    last = birth.id;
  }
  return steps;
}

std::optional<std::string> why_unreachable(Pid id, Pid last, Pid max) {
  if (id >= max) {
    return fmt::format("the pid counter ends before id {}: kernel.pid_max is {}", id, max);
  }
  if (id > kLowestId || id > last) return std::nullopt;
  return fmt::format("the pid counter never comes back to id {}: it begins again at {}", id,
                     kLowestId);
}

std::vector<Rung> rungs_to_try(const BuildOptions& options, bool held) {
  if (!options.restore_pids) return {Rung::kNew};
  std::vector<Rung> rungs;
  const bool elsewhere = options.allow_namespaces && (!held || options.namespaces_if_held);
  if (!held) rungs.push_back(Rung::kSetTid);
  if (!held) rungs.push_back(Rung::kShortWalk);
  if (elsewhere) rungs.push_back(Rung::kNamespaces);
  if (!held) rungs.push_back(Rung::kLongWalk);
  return rungs;
}

IdWay way_of(Rung rung) {
  switch (rung) {
    case Rung::kSetTid:
      return IdWay::kSetTid;
    case Rung::kShortWalk:
    case Rung::kLongWalk:
      return IdWay::kCounter;
    case Rung::kNamespaces:
      return IdWay::kNamespaces;
    case Rung::kNew:
      return IdWay::kNew;
  }
  return IdWay::kNew;
}

bool has_passed(Pid before, Pid now, Pid id) {
  if (before <= now) return before < id && id <= now;
  return id > before || id <= now;  // it wrapped
}

}  // namespace stasis::restart
