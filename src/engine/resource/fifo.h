// Fifos by their names, at restart: used where they are, made and given all their names where they
// are not (docs/security.md).
#pragma once

#include <string>
#include <vector>

#include "resource/handler.h"

namespace stasis::resource {

// Everything that stands in the way of the names of a fifo; `subject` is whose fifo it is.
std::vector<Refusal> fifo_obstacles(model::ResourceIndex resource, const std::string& subject,
                                    const RestoreContext& context);

// The fifo, both ends at once: opening never waits for a peer. What fifo_name_descriptor()
// needs is in the context.
Result<UniqueFd> find_or_make_fifo(model::ResourceIndex resource, RestoreContext& context);

// A descriptor of ours by which the fifo can be opened so that /proc shows the name that open file
// `index` had; -1: any will do.
int fifo_name_descriptor(model::OpenFileIndex index, const RestoreContext& context);

}  // namespace stasis::resource
