// Programs and shared memory. An exec gives /proc/PID/exe back but loses every mapping; shared
// anonymous memory can only be inherited. So who executes maps the shared memory of its own
// descendants anew, which is right only if nobody else has it. Pure.
#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "restart/family.h"

namespace stasis::restart {
namespace {

using Regions = std::set<model::ResourceIndex>;

Regions regions_of(const model::Image& image, size_t process) {
  Regions regions;
  for (const model::Vma& vma : image.processes[process].memory.vmas) {
    if (vma.resource &&
        std::holds_alternative<model::SharedMemory>(image.resources[*vma.resource])) {
      regions.insert(*vma.resource);
    }
  }
  return regions;
}

// What every member and those that it makes have mapped, and how often each region is mapped by a
// process: a subtree that has all users of a region is alone with it.
class Sharing {
 public:
  Sharing(const model::Image& image, const Family& family, const std::vector<size_t>& order)
      : users_(family.members.size()) {
    for (size_t i = 0; i < image.processes.size(); ++i) {
      for (const auto region : regions_of(image, i)) ++users_[i][region];
    }
    for (auto member = order.rbegin(); member != order.rend() && *member != 0; ++member) {
      for (const auto& [region, count] : users_[*member]) {
        users_[family.members[*member].maker][region] += count;
      }
    }
  }

  [[nodiscard]] bool is_alone(size_t member) const {
    return std::all_of(users_[member].begin(), users_[member].end(), [&](const auto& used) {
      return used.second == users_.front().at(used.first);
    });
  }
  [[nodiscard]] const std::map<model::ResourceIndex, size_t>& used_under(size_t member) const {
    return users_[member];
  }

 private:
  std::vector<std::map<model::ResourceIndex, size_t>> users_;
};

}  // namespace

void plan_programs(const model::Image& image, Family& family) {
  const std::vector<size_t> order = makers_first(family);
  const Sharing sharing(image, family, order);
  std::vector<std::optional<model::ResourceIndex>> programs(family.members.size());
  std::map<model::ResourceIndex, size_t> owners;
  for (const size_t i : order) {
    Member& member = family.members[i];
    const auto wanted = member.role == Role::kProcess ? image.processes[i].executable
                                                      : std::optional<model::ResourceIndex>();
    programs[i] = i == 0 ? wanted : programs[member.maker];
    bool fresh = i == 0;
    if (wanted && programs[i] != wanted) {
      fresh = member.executes = sharing.is_alone(i);
      member.keeps_program = !fresh;
      if (fresh) programs[i] = wanted;
    }
    if (!fresh) continue;
    for (const auto& [region, count] : sharing.used_under(i)) owners[region] = i;
  }
  for (const auto& [region, owner] : owners) family.members[owner].regions.push_back(region);
}

}  // namespace stasis::restart
