// What a checkpoint is about to lose that stands in nobody's way.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/types.h"

namespace stasis::capture {

// A sentence each, for processes that still run; from what can be seen without stopping them.
std::vector<std::string> remarks(std::span<const Pid> pids);

// Whether /proc/PID/numa_maps shows areas with a memory policy of their own (mbind(2)). Pure.
bool has_area_policies(std::string_view numa_maps);

}  // namespace stasis::capture
