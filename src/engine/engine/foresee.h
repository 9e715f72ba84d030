// What a restart would refuse, asked by a checkpoint: here and now, by this user, with the
// originals alive.
#pragma once

#include <span>
#include <vector>

#include "base/result.h"
#include "model/image.h"
#include "model/page_source.h"

namespace stasis::engine {

// Of a model that is complete. Pids in use, locks that are held and files that have grown since say
// nothing; neither does what depends on how cr_restart will be called.
std::vector<Refusal> restart_obstacles(const model::Image& image, model::PageSource& pages);

// Both as the error of a checkpoint.
Error not_restartable(std::string_view who, const std::vector<Refusal>& refusals);

// As much of the same as running processes show.
std::vector<Refusal> restart_obstacles(std::span<const Pid> pids);

}  // namespace stasis::engine
