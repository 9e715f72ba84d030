// Shared anonymous memory is no descriptor: it is made inside the targets (restart). This entry
// exists so that every kind of the model has one and nobody has to ask.
#include <cerrno>

#include "resource/kinds.h"

namespace stasis::resource {

const Handler kSharedMemoryHandler = {
    .kind = model::SharedMemory::kKind,
    .recognises = [](const FdFacts&) { return false; },
    .obstacle = [](const FdFacts&, CaptureContext&) { return std::optional<Refusal>(); },
    .identity = [](const FdFacts&) { return std::string(); },
    .capture = [](const FdFacts& facts, CaptureContext&) -> Result<model::Resource> {
      return fail(EINVAL, facts.describe() + ": shared memory has no descriptor");
    },
    .restore_obstacles = [](const model::Resource&,
                            const RestoreContext&) { return std::vector<Refusal>(); },
    .create = [](model::OpenFileIndex, RestoreContext&) -> Result<UniqueFd> {
      return fail(EINVAL, "the image is wrong: an open file refers to shared anonymous memory");
    },
    .settle = nullptr};

}  // namespace stasis::resource
