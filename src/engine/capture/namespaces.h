// Namespaces that a restart would not give back, as refusals. From outside.
#pragma once

#include <span>
#include <vector>

#include "base/result.h"
#include "base/types.h"

namespace stasis::capture {

void survey_namespaces(Pid pid, std::vector<Refusal>& refusals);
// Processes in different time namespaces.
void survey_clocks(std::span<const Pid> pids, std::vector<Refusal>& refusals);

}  // namespace stasis::capture
