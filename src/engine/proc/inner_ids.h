// A process's ids as it sees them itself, in the innermost of the pid namespaces that it is in.
#pragma once

#include <string_view>

#include "base/result.h"
#include "base/types.h"

namespace stasis::proc {

struct InnerIds {
  Pid pid = 0, group = 0, session = 0;  // 0: has none there
  size_t depth = 0;                     // namespaces, ours among them; 1: no other
  bool operator==(const InnerIds&) const = default;
};
InnerIds parse_inner_ids(std::string_view status);  // NSpid, NSpgid, NSsid of /proc/PID/status
Result<InnerIds> read_inner_ids(Pid pid);

}  // namespace stasis::proc
