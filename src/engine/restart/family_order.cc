// Orders: which births there are, which of them are possible when, and the way of a counter through
// their ids. Pure.
#include <algorithm>

#include "restart/family.h"
#include "restart/ids.h"

namespace stasis::restart {

size_t maker_of(const Family& family, const Birth& birth) {
  return birth.thread != 0 ? birth.member : family.members[birth.member].maker;
}

std::vector<Birth> births_of(const model::Image& image, const Family& family) {
  std::vector<Birth> births;
  for (size_t member = 0; member < family.members.size(); ++member) {
    births.push_back({family.members[member].id, member, 0});
    if (member >= image.processes.size()) continue;
    const auto& threads = image.processes[member].threads;
    for (size_t i = 1; i < threads.size(); ++i) births.push_back({threads[i].tid, member, i});
  }
  return births;
}

std::vector<size_t> makers_first(const Family& family) {
  std::vector<std::vector<size_t>> made(family.members.size());
  for (size_t i = 1; i < family.members.size(); ++i) made[family.members[i].maker].push_back(i);
  std::vector<size_t> order;
  if (family.members.empty()) return order;
  order.push_back(0);
  for (size_t next = 0; next < order.size(); ++next) {
    const auto& theirs = made[order[next]];
    order.insert(order.end(), theirs.begin(), theirs.end());
  }
  return order;
}

Readiness::Readiness(const Family& family)
    : family_(&family), there_(family.members.size(), false), early_(family.members.size(), 0) {
  for (size_t i = 1; i < family.members.size(); ++i) {
    if (family.members[i].early) ++early_[family.members[i].maker];
  }
}

bool Readiness::may_begin_session(size_t member) const {
  return there_[member] && early_[member] == 0;
}

bool Readiness::is_ready(const Birth& birth) const {
  if (birth.thread == 0 && birth.member == 0) return true;
  const size_t maker = maker_of(*family_, birth);
  if (!there_[maker]) return false;
  if (birth.thread != 0 || !family_->members[maker].leads_session) return true;
  return family_->members[birth.member].early || may_begin_session(maker);
}

void Readiness::note(const Birth& birth) {
  if (birth.thread != 0 || there_[birth.member]) return;
  there_[birth.member] = true;
  const Member& member = family_->members[birth.member];
  if (birth.member != 0 && member.early) --early_[member.maker];
}

std::vector<Birth> walking_order(const model::Image& image, const Family& family) {
  std::vector<Birth> left = births_of(image, family);
  std::vector<Birth> order;
  if (left.empty()) return order;
  Readiness readiness(family);
  Pid last = left.front().id - 1;
  while (!left.empty()) {
    std::sort(left.begin(), left.end(), [&](const Birth& a, const Birth& b) {
      return way_up(last, a.id) < way_up(last, b.id);
    });
    std::vector<Birth> later;
    for (const Birth& birth : left) {
      if (!readiness.is_ready(birth)) {
        later.push_back(birth);
        continue;
      }
      readiness.note(birth);
      order.push_back(birth);
    }
    if (later.size() == left.size()) break;  // plan_family() gives no such family
    last = order.back().id;
    left = std::move(later);
  }
  return order;
}

}  // namespace stasis::restart
