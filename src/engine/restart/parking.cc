// Numbers for descriptors that wait in a newborn until they are placed. Pure.
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

#include "restart/birth.h"

namespace stasis::restart {

Result<std::vector<Parking>> plan_parking(std::vector<int> ours, std::vector<int> taken,
                                          int limit) {
  std::sort(ours.begin(), ours.end());
  ours.erase(std::unique(ours.begin(), ours.end()), ours.end());
  const int count = static_cast<int>(ours.size());
  taken.insert(taken.end(), ours.begin(), ours.end());
  std::sort(taken.begin(), taken.end());
  // Behind everything if there is room, which makes the numbers easy to read; else in the gaps.
  int next = taken.empty() ? 0 : taken.back() + 1;
  if (next > limit - count) next = 0;
  std::vector<Parking> plan;
  for (const int fd : ours) {
    while (std::binary_search(taken.begin(), taken.end(), next)) ++next;
    if (next >= limit) {
      return fail(EMFILE,
                  fmt::format("cannot hold {} descriptors beside those of the image: only {} are "
                              "allowed",
                              count, limit),
                  "raise the hard limit of open files (ulimit -Hn)");
    }
    plan.push_back({fd, next++});
  }
  return plan;
}

}  // namespace stasis::restart
