// Birth: from nothing to a Target that is empty but for scratch and vdso. A newborn is a clone of
// ours that parks its descriptors, is seized, and executes the program it is to become (so that
// /proc/PID/exe is right without privilege); not one instruction of the program runs. Which id it
// gets is ids.cc's business.
#pragma once

#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "resource/rights.h"
#include "restart/target.h"

namespace stasis::restart {

struct Parking {
  int from = -1, to = -1;
};

// What a newborn needs to know. Prepared before it exists: it must not allocate.
struct NewbornPlan {
  std::vector<Parking> parking;
  int executable = -1;  // descriptor of what it becomes; -1: stays a copy of us
  // Capabilities that let it choose the ids of its threads survive the exec; finish_process() sets
  // the saved ones.
  bool keep_capabilities = false;
  // Whom it becomes before its program is looked up; nullptr: it stays who we are.
  const resource::Identity* user = nullptr;
};

// Where parked descriptors lie in the targets: for each of `ours` a number that is neither among
// `taken` (the image's numbers) nor one of ours, below `limit` (pure). EMFILE: too many.
Result<std::vector<Parking>> plan_parking(std::vector<int> ours, std::vector<int> taken, int limit);

// The two ends through which we and a newborn wait for each other.
struct Gate {
  UniqueFd ours, theirs;
  static Result<Gate> make();
};

// Blocks all signals but SIGTRAP in this thread for a while, so that none of our handlers runs in a
// clone of ours.
class BlockedSignals {
 public:
  BlockedSignals();
  ~BlockedSignals();
  BlockedSignals(const BlockedSignals&) = delete;
  BlockedSignals& operator=(const BlockedSignals&) = delete;

 private:
  u64 before_ = 0;
};

// The newborn's life up to its exec; runs in the clone, makes nothing but system calls. If we die
// before it is seized it exits.
[[noreturn]] void live_as_newborn(const NewbornPlan& plan, const Gate& gate);

enum class Parent { kUs, kOurParent };
// Clones a newborn; with `id` != 0 by clone3(set_tid). EPERM: not allowed, EEXIST: in use.
Result<Pid> clone_newborn(const NewbornPlan& plan, const Gate& gate, Parent parent, Pid id);
// Ends a newborn that has not passed the gate (it got the wrong id).
void drop_newborn(Pid pid);

// Seizes the newborn behind the gate, lets it become its program, and empties it. On error it is
// dead. `became` tells whether the exec worked; if not it is a copy of us, emptied.
struct Born {
  Target target;
  bool became = false;
  std::string obstacle;  // why not
};
Result<Born> raise_newborn(Pid pid, const NewbornPlan& plan, Gate gate, Scratch scratch);

}  // namespace stasis::restart
