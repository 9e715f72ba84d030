// The processes of one checkpoint: its scope, the scopes that callbacks forwarded it to, and what
// the rules on tracers leave out.
#pragma once

#include <set>
#include <utility>
#include <vector>

#include "base/result.h"
#include "engine/deadline.h"
#include "engine/engine.h"

namespace stasis::engine {

inline constexpr int kPtracer = 2361;  // BLCR's CR_EPTRACER

class Members {
 public:
  Members(Pid target, Scope scope) : scopes_{{scope, target}} {}

  // Those that are alive now, parents before children. ESRCH: nobody.
  [[nodiscard]] Result<std::vector<Pid>> now() const;
  // Zombies whose parent is no member: nobody could wait for them after a restart.
  [[nodiscard]] std::vector<Pid> lost_zombies() const;
  // Adds a scope; false: it was there.
  bool widen(Scope scope, Pid target);
  void leave_out(Pid pid) { left_out_.insert(pid); }

 private:
  std::vector<std::pair<Scope, Pid>> scopes_;
  std::set<Pid> left_out_;
};

// Members that are traced, and members that trace: refused (kPtraced, kPtracer), waited for, or
// left out, as the request says.
Result<void> apply_tracer_rules(const CheckpointRequest& request, Members& members,
                                const Deadline& deadline);

}  // namespace stasis::engine
