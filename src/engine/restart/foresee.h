// What a restart could fail at that can be told from the image and this machine alone, beyond
// validate(): the plan of the family, room in the address space, directories.
#pragma once

#include <vector>

#include "base/result.h"
#include "model/image.h"
#include "restart/family.h"
#include "restart/validate.h"

namespace stasis::restart {

// Who makes whom, and where the build's own areas lie. Pure but for our own maps.
std::vector<Refusal> plan_obstacles(const model::Image& image, const FamilyOptions& options);

// The working directories, at `relocate`d paths.
std::vector<Refusal> directory_obstacles(const model::Image& image,
                                         const resource::RestoreContext& context);

// Of one process (pure): CPU clocks of strangers, marks of memory that the kernel would not take,
// descriptors beyond our limit.
std::vector<Refusal> detail_obstacles(const model::Image& image, const model::Process& process,
                                      const Machine& machine);

// For a checkpoint: what a restart right now, by this user, would be refused for, but for what
// depends on the shell that starts it.
std::vector<Refusal> foresee(const model::Image& image);
// The same for a sketch, which is of this machine anyway and has no registers.
std::vector<Refusal> foresee_sketch(const model::Image& image);

}  // namespace stasis::restart
