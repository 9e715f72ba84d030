// The letters of VmFlags (smaps, proc(5)) and what becomes of each in a restart. Every letter of
// Linux 6.18 is here; one that is not is told, at the checkpoint and at the restart.
#pragma once

#include <span>
#include <string_view>

namespace stasis::model {

enum class VmFlagRule {
  kImplied,   // follows from protection, sharing, descriptor and the kind of the area
  kRestored,  // by a call or a flag of its own
  kLeft,      // the state of somebody who watches or manages the area, not the program's
  kRefused,   // cannot be had again: not saved, or not restarted
};

struct VmFlag {
  std::string_view letters;
  VmFlagRule rule;
  // What the area is, or how its mark comes back; and for kRefused, what to do.
  std::string_view what = {};
  std::string_view advice = {};
};

std::span<const VmFlag> vm_flags();
// nullptr: not known.
const VmFlag* find_vm_flag(std::string_view letters);

}  // namespace stasis::model
