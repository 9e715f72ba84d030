// Stack walks over a saved process by libunwind, with accessors that read the image. The unwind
// tables may be hostile: depth and reads of a walk are bounded.
#pragma once

#include <memory>
#include <vector>

#include "backtrace/saved_memory.h"
#include "base/result.h"

namespace stasis::cli {

struct Frame {
  u64 address = 0;    // of the instruction
  bool exact = true;  // the thread is there; else it is where a call returns to
  bool signal_frame = false;
};

enum class WalkEnd { kOutermost, kNoInformation, kTooDeep };

struct Walk {
  std::vector<Frame> frames;  // innermost first
  WalkEnd end = WalkEnd::kOutermost;
};

// EINVAL when the registers are not this machine's.
Result<Walk> walk_stack(const model::Thread& thread, SavedMemory& memory, Modules& modules);

}  // namespace stasis::cli
