// The family tree of a restart, before anything exists: every process that has to be made, who
// makes it, and in which state of its maker. Not only the image's processes: zombies are made too;
// orphans need somebody who makes them and goes (a stand-in); a group or session whose leader is
// gone needs a ghost that has its id until the members are in. Pure.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "model/image.h"

namespace stasis::restart {

enum class Role { kProcess, kZombie, kStandIn, kGhost };

struct Member {
  Role role = Role::kProcess;
  Pid id = 0;                  // saved; of a stand-in one that nobody wants
  size_t maker = 0;            // the member that clones it; the first one's is whoever restarts
  bool sibling = false;        // of its maker (CLONE_PARENT): a child of whoever restarts
  bool early = false;          // made before its maker begins a session of its own
  bool leads_session = false;  // calls setsid(2)
  Pid group = 0;        // the saved id of the group that it founds or joins; 0: as it is born
  int exit_signal = 0;  // not of siblings: theirs is the first one's
  // Its program is not its maker's: it has to execute it before it makes anybody.
  bool executes = false;
  // ... but does not, as it shares memory with others, which it can only inherit.
  bool keeps_program = false;
  // Shared memory that it maps first, for itself and those that it makes.
  std::vector<model::ResourceIndex> regions;
};

struct Family {
  // The processes of the image, in its order; then zombies, then who only helps.
  std::vector<Member> members;
};

struct FamilyOptions {
  bool restore_group = false, restore_session = false;
  Pid own_group = 0, own_session = 0;  // of whoever restarts; 0: not comparable with saved ids
};

// EPERM: a session cannot be joined; EINVAL: not a possible image.
Result<Family> plan_family(const model::Image& image, const FamilyOptions& options);

// Who executes what, and who maps shared memory: the last part of plan_family().
void plan_programs(const model::Image& image, Family& family);

// Members such that makers come before those they make. Shorter than `family` if there are some
// that nobody can make.
std::vector<size_t> makers_first(const Family& family);

// A member (thread 0) or a thread of one that has to be made with an id.
struct Birth {
  Pid id = 0;
  size_t member = 0;
  size_t thread = 0;
  bool operator==(const Birth&) const = default;
};

// Of all members and threads, the first member's first.
std::vector<Birth> births_of(const model::Image& image, const Family& family);

// The member that makes it: a thread's own process.
size_t maker_of(const Family& family, const Birth& birth);

// Which births are possible now: the maker must be there, and have begun its session or not.
class Readiness {
 public:
  explicit Readiness(const Family& family);
  [[nodiscard]] bool is_ready(const Birth& birth) const;
  [[nodiscard]] bool exists(size_t member) const { return there_[member]; }
  void note(const Birth& birth);
  // Whether it is there and nobody has to be made before it begins its session.
  [[nodiscard]] bool may_begin_session(size_t member) const;

 private:
  const Family* family_;
  std::vector<bool> there_;
  std::vector<size_t> early_;  // still to be made before the member's session
};

// The order in which a pid counter that only goes up, and wraps, can give out the ids: from the
// first member upwards; what is not possible yet waits for the next time around.
std::vector<Birth> walking_order(const model::Image& image, const Family& family);

}  // namespace stasis::restart
