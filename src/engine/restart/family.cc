// plan_family(): parents first, then sessions (who must be born into which, as only a leader can
// begin one and everybody else inherits it), then groups. A session is named by its leader's saved
// id here; kOwn is the one of whoever restarts.
#include "restart/family.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <map>
#include <optional>
#include <set>

namespace stasis::restart {
namespace {

constexpr Pid kAny = 0, kOwn = -1;

struct Place {
  size_t maker = 0;
  bool early = false;
};

class Planner {
 public:
  Planner(const model::Image& image, const FamilyOptions& options)
      : image_(image), options_(options) {}

  Result<Family> plan() {
    if (image_.processes.empty()) return impossible("nobody");
    add_members();
    TRY(check_ids());
    find_parents();
    TRY(check_parents());
    for (size_t i = 0; i < saved_; ++i) born_in_.push_back(needed_session(i));
    for (size_t i = 0; i < saved_; ++i) TRY(place(i));
    if (options_.restore_group) plan_groups();
    choose_helpers_ids();
    TRY(check_ids());  // a ghost has the id that a process wants to be in the group or session of
    plan_programs(image_, family_);
    if (makers_first(family_).size() < family_.members.size()) return impossible("a circle");
    return std::move(family_);
  }

 private:
  enum class Parent { kRestarter, kMember, kInit };

  static Error impossible(std::string_view what) {
    return fail(EINVAL, fmt::format("the image is damaged: {} among its processes", what));
  }

  void add_members() {
    for (const model::Process& process : image_.processes) {
      add_saved({.role = Role::kProcess, .id = process.pid, .exit_signal = process.exit_signal},
                process.parent, process.group, process.session);
    }
    for (const model::Zombie& zombie : image_.zombies) {
      add_saved({.role = Role::kZombie, .id = zombie.pid, .exit_signal = zombie.exit_signal},
                zombie.parent, zombie.group, zombie.session);
    }
    saved_ = family_.members.size();
  }

  void add_saved(Member member, Pid parent, Pid group, Pid session) {
    member.leads_session = options_.restore_session && session == member.id;
    parents_.push_back(parent);
    groups_.push_back(group);
    sessions_.push_back(session);
    by_id_.emplace(member.id, family_.members.size());
    family_.members.push_back(std::move(member));
  }

  Result<void> check_ids() {
    std::set<Pid> ids;
    for (const Birth& birth : births_of(image_, family_)) {
      if (birth.id <= 0 || !ids.insert(birth.id).second) {
        return impossible(fmt::format("id {} twice or no id", birth.id));
      }
    }
    return {};
  }

  void find_parents() {
    for (size_t i = 0; i < saved_; ++i) {
      const auto parent = by_id_.find(parents_[i]);
      if (i == 0) {
        kinds_.push_back(Parent::kRestarter);
      } else if (parent != by_id_.end()) {
        kinds_.push_back(Parent::kMember);
        family_.members[i].maker = parent->second;
      } else {
        kinds_.push_back(parents_[i] == 1 ? Parent::kInit : Parent::kRestarter);
      }
    }
  }

  // Every child leads to somebody whose parent is not in the image; no zombie has children.
  Result<void> check_parents() const {
    for (size_t i = 0; i < saved_; ++i) {
      size_t steps = 0;
      for (size_t at = i; kinds_[at] == Parent::kMember; at = family_.members[at].maker) {
        const size_t maker = family_.members[at].maker;
        if (++steps > saved_) return impossible("a circle");
        if (family_.members[maker].role == Role::kZombie) return impossible("a child of a zombie");
      }
    }
    return {};
  }

  // The session that a member is in in the end.
  [[nodiscard]] Pid session_of(size_t member) const {
    if (!options_.restore_session) return kAny;
    const Pid session = sessions_[member];
    if (by_id_.contains(session)) return session;
    return session == 0 || session == options_.own_session ? kOwn : session;
  }

  // The session that a member must be born into: its own, or, if it begins one, that of a child
  // that must have been made before.
  Pid needed_session(size_t member) {
    const Pid session = session_of(member);
    if (!family_.members[member].leads_session) return session;
    for (size_t i = 0; i < saved_; ++i) {
      if (kinds_[i] != Parent::kMember || family_.members[i].maker != member) continue;
      const Pid needed = needed_session(i);
      if (needed != kAny && needed != session) return needed;
    }
    return kAny;
  }

  [[nodiscard]] Error cannot_join(size_t member) const {
    const Member& who = family_.members[member];
    return fail(
        EPERM,
        fmt::format("{} {} cannot join session {}: its leader is not in the image",
                    who.role == Role::kZombie ? "zombie" : "process", who.id, sessions_[member]),
        "restart without --restore-sid");
  }

  // How a member that must be born into `session` is made by `maker`; nullopt: it cannot be.
  [[nodiscard]] std::optional<Place> place_under(size_t maker, Pid session) const {
    if (session == kAny || session == session_of(maker)) return Place{maker, false};
    const Pid before = maker == 0 ? kOwn : born_in_[maker];
    if (family_.members[maker].leads_session && session == before) return Place{maker, true};
    return std::nullopt;
  }

  Result<void> place(size_t index) {
    std::optional<Place> found;
    const Pid session = born_in_[index];
    if (index == 0) {
      if (session != kAny && session != kOwn) return cannot_join(index);
      return {};
    }
    if (kinds_[index] == Parent::kInit) {
      found = Place{stand_in(session), false};
    } else {
      found = place_under(family_.members[index].maker, session);
      family_.members[index].sibling = kinds_[index] == Parent::kRestarter;
    }
    if (!found) return cannot_join(index);
    family_.members[index].maker = found->maker;
    family_.members[index].early = found->early;
    return {};
  }

  size_t add_helper(Role role, Pid id, Pid session, const Place& place) {
    Member member{.role = role, .id = id, .maker = place.maker, .early = place.early};
    member.leads_session = options_.restore_session && id == session;
    by_id_.emplace(id, family_.members.size());
    parents_.push_back(0);
    groups_.push_back(0);
    sessions_.push_back(session);
    kinds_.push_back(Parent::kMember);
    born_in_.push_back(session);
    family_.members.push_back(std::move(member));
    return family_.members.size() - 1;
  }

  // Who can make members of a session: its leader; a ghost where that is not in the image.
  Place host_of(Pid session) {
    if (auto under_first = place_under(0, session)) return *under_first;
    if (const auto leader = by_id_.find(session); leader != by_id_.end()) {
      return {leader->second, false};
    }
    return {add_helper(Role::kGhost, session, session, {0, false}), false};
  }

  // Who makes the orphans of a session and ends before them. Ghosts and zombies end anyway.
  size_t stand_in(Pid session) {
    const Place host = host_of(session);
    if (family_.members[host.maker].role != Role::kProcess) return host.maker;
    const auto known = stand_ins_.find({host.maker, host.early});
    if (known != stand_ins_.end()) return known->second;
    const size_t added = add_helper(Role::kStandIn, --next_fake_, session, host);
    stand_ins_[{host.maker, host.early}] = added;
    return added;
  }

  void plan_groups() {
    for (size_t i = 0; i < saved_; ++i) {
      const Pid group = groups_[i];
      if (family_.members[i].leads_session || group == 0) continue;
      if (!by_id_.contains(group)) {
        if (group == options_.own_group) continue;
        const Place place = host_of(session_of(i));  // may be the ghost that we look for
        if (!by_id_.contains(group)) {
          const size_t ghost = add_helper(Role::kGhost, group, sessions_[i], place);
          family_.members[ghost].group = group;
        }
      }
      family_.members[i].group = group;
    }
  }

  // Ids that are nobody's, right after the first member's.
  void choose_helpers_ids() {
    std::set<Pid> taken;
    for (const Birth& birth : births_of(image_, family_)) taken.insert(birth.id);
    Pid next = family_.members.front().id;
    const auto after = [](Pid id) { return id == std::numeric_limits<Pid>::max() ? 1 : id + 1; };
    for (Member& member : family_.members) {
      if (member.role != Role::kStandIn) continue;
      do next = after(next);
      while (taken.contains(next));
      member.id = next;
    }
  }

  const model::Image& image_;
  const FamilyOptions& options_;
  Family family_;
  size_t saved_ = 0;  // members that the image has
  std::map<Pid, size_t> by_id_;
  // Parallel to the members:
  std::vector<Pid> parents_, groups_, sessions_;
  std::vector<Parent> kinds_;
  std::vector<Pid> born_in_;  // session
  std::map<std::pair<size_t, bool>, size_t> stand_ins_;
  Pid next_fake_ = kOwn;  // ids of stand-ins until they are chosen
};

}  // namespace

Result<Family> plan_family(const model::Image& image, const FamilyOptions& options) {
  return Planner(image, options).plan();
}

}  // namespace stasis::restart
