// Makes threads, children and siblings of processes whose memory is still empty: one script in the
// maker, CLONE_PTRACE, so that each is ours and stopped before its first instruction.
#pragma once

#include <set>
#include <span>
#include <vector>

#include "base/result.h"
#include "restart/family.h"
#include "restart/passes.h"

namespace stasis::restart {

enum class IdDemand {
  kSetTid,  // clone3(set_tid)
  kExpect,  // the counter must happen to give it
  kAny,
};

// A birth, and the id that is to be passed over right before it (with kExpect; 0: none), which may
// take that many tries.
struct Order {
  Birth birth;
  Pid pass = 0;
  u64 tries = 0;
};

struct Made {
  size_t count = 0;     // of the orders, in order, that were made as wanted
  Pid last = 0;         // the last id that the kernel gave to anything here; 0: none
  bool missed = false;  // the next one would have got another id
  int code = 0;         // ... or the errno for which it could not be made
};

// "process 12", "thread 13", "zombie 14", "a process for group 15".
std::string name_of(const Family& family, const Birth& birth);

// With new ids: the saved ones of leaders that must be had all the same, as they are the numbers of
// groups and sessions that are to be restored.
std::set<Pid> exact_ids(const BuildState& state);

// All orders must have the same maker, which exists, and be ready; none is a stand-in. What got a
// wrong id is gone again.
Result<Made> make(BuildState& state, IdDemand demand, std::span<const Order> orders);

// Makes a stand-in with any id that is nobody's; returns the last id that the kernel gave.
Result<Pid> make_stand_in(BuildState& state, size_t member);

// Everything but the first, at once, for kSetTid and kAny. EEXIST and EPERM as errors.
Result<void> make_all(BuildState& state, IdDemand demand);

// The first member, born and with its program; forgets all others.
Result<void> note_first(BuildState& state, Target target);

}  // namespace stasis::restart
