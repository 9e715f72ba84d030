// The descriptor that an image is written to: counts bytes, never blocks for long in a pipe that
// nobody empties, and turns a closed pipe into an error rather than a SIGPIPE for the whole
// program.
#pragma once

#include <csignal>
#include <functional>

#include "base/result.h"
#include "base/types.h"

namespace stasis::format {

class Output {
 public:
  // `keep_going` is asked now and then while a pipe is full; false ends the wait with ECANCELED.
  Output(int fd, std::function<bool()> keep_going);
  ~Output();
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;

  Result<void> write(ByteView bytes);
  [[nodiscard]] u64 position() const { return position_; }

 private:
  Result<void> wait_for_room();
  Result<size_t> write_some(ByteView bytes);

  int fd_;
  std::function<bool()> keep_going_;
  bool may_block_ = false;  // a pipe, a socket: anything but a regular file
  u64 position_ = 0;        // bytes written through this object
  sigset_t old_mask_{};
  bool was_pending_ = false;  // a SIGPIPE that is not ours
};

}  // namespace stasis::format
