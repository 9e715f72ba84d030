// What will be otherwise than it was, without harm: no refusal, but told. Pure.
#pragma once

#include <string>
#include <vector>

#include "model/image.h"
#include "restart/validate.h"

namespace stasis::restart {

std::vector<std::string> process_differences(const model::Process& process, const Machine& machine);

}  // namespace stasis::restart
