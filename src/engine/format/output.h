// The descriptor that an image is written to: counts bytes, waits where it would block, and turns a
// closed pipe into an error rather than a SIGPIPE for the whole program.
#pragma once

#include <csignal>

#include "base/result.h"
#include "base/types.h"

namespace stasis::format {

class Output {
 public:
  explicit Output(int fd);
  ~Output();
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;

  Result<void> write(ByteView bytes);
  [[nodiscard]] u64 position() const { return position_; }

 private:
  Result<size_t> write_some(ByteView bytes);

  int fd_;
  u64 position_ = 0;  // bytes written through this object
  sigset_t old_mask_{};
  bool was_pending_ = false;  // a SIGPIPE that is not ours
};

}  // namespace stasis::format
