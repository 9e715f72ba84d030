// What waits in a pipe: looked at without consuming it, and put into another.
#pragma once

#include <vector>

#include "base/result.h"
#include "base/types.h"

namespace stasis::resource {

// How many bytes wait in the pipe of which `fd` is an end.
Result<size_t> waiting_bytes(int fd);
// The bytes in the pipe whose read end is `fd`, by tee(2): nothing is taken out. One element, or
// one per packet; a single packet is followed by an empty element, so that it differs from a
// stream.
Result<std::vector<Bytes>> peek_pipe(int fd);
// Writes them into a pipe that has room for them; as packets if there is more than one element.
Result<void> fill_pipe(int fd, const std::vector<Bytes>& packets);
u64 total_size(const std::vector<Bytes>& packets);

}  // namespace stasis::resource
