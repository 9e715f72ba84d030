// The arithmetic of ids: orders, distances on the pid counter's circle, and which rungs of the
// ladder there are. Pure.
#include <algorithm>

#include "restart/ids.h"

namespace stasis::restart {
namespace {

constexpr u64 kIdsPerSecond = 36'000;  // measured; a busy machine is several times slower
constexpr u64 kShortWalkSeconds = 3;

}  // namespace

std::vector<IdWant> ids_in_walking_order(const model::Image& image) {
  std::vector<IdWant> wants;
  for (size_t process = 0; process < image.processes.size(); ++process) {
    const auto& threads = image.processes[process].threads;
    wants.push_back({image.processes[process].pid, process, 0});
    for (size_t i = 1; i < threads.size(); ++i) wants.push_back({threads[i].tid, process, i});
  }
  if (wants.empty()) return wants;
  const Pid root = wants.front().id;
  std::sort(wants.begin(), wants.end(), [&](const IdWant& a, const IdWant& b) {
    const bool a_wrapped = a.id < root;
    const bool b_wrapped = b.id < root;
    return a_wrapped != b_wrapped ? b_wrapped : a.id < b.id;
  });
  return wants;
}

u64 ids_to_walk(Pid last, const std::vector<IdWant>& wants, Pid max) {
  u64 steps = 0;
  for (const IdWant& want : wants) {
    if (want.id > last) {
      steps += static_cast<u64>(want.id - last);
    } else {
      steps += static_cast<u64>(std::max(0, max - last - 1)) +
               static_cast<u64>(std::max(1, want.id - kLowestId + 1));
    }
    last = want.id;
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
  if (options.allow_namespaces) ways.push_back(IdWay::kNamespaces);
  return ways;
}

bool has_passed(Pid before, Pid now, Pid id) {
  if (before <= now) return before < id && id <= now;
  return id > before || id <= now;  // it wrapped
}

}  // namespace stasis::restart
