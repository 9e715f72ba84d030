// A control block in the memory of another process: read, checked and written field by field.
// Internal to notify/. Addresses are those of the process; nothing is followed here.
#pragma once

#include <stasis/handshake.h>

#include <cstddef>

#include "base/result.h"
#include "base/types.h"

namespace stasis::notify {

// The numbers of a block; the two paths behind them are not read.
struct BlockHead {
  cri_block fields = {};
};
inline constexpr size_t kHeadLength = offsetof(cri_block, destination);
static_assert(kHeadLength == 656 && sizeof(cri_block) <= CRI_BLOCK_AREA);

// Asks the address space that the process has now, so that a block from before an execve(2) is not
// found any more. `thread`: any living thread of the process. ESRCH: the process or its block is
// gone.
Result<BlockHead> read_head(Pid thread, RemoteAddr block);

// Whether calls of cr_forward_checkpoint() can be answered: a libcr of an older build does not
// wait.
bool has_answers(const BlockHead& head);
// Whether a block is what it says, at this place, of the process that calls itself `inside`.
bool is_block(const BlockHead& head, RemoteAddr block, Pid inside);
bool takes_part(const BlockHead& head);

Result<void> write_bytes(Pid thread, RemoteAddr to, ByteView bytes);

template <class T>
Result<void> write_field(Pid thread, RemoteAddr block, size_t offset, const T& value) {
  return write_bytes(thread, block + offset, std::as_bytes(std::span(&value, 1)));
}

// The id of a thread, or of the process, as the process itself knows it.
Pid inner_id(Pid pid, Pid tid);
// Our id of the process that `fellow` (of ours), in its pid namespace, knows as `inner`; 0: nobody.
Pid outer_id(Pid inner, Pid fellow);

}  // namespace stasis::notify
