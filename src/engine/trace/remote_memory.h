// Reading and writing the memory of another process. The process may be running or stopped; needs
// ptrace access to it. An address that is not mapped is EFAULT; a process that is gone ESRCH.
#pragma once

#include "base/result.h"
#include "base/types.h"
#include "base/unique_fd.h"

namespace stasis::trace {

struct RemoteSpan {
  RemoteAddr start;
  u64 length = 0;
};

class RemoteMemory {
 public:
  static Result<RemoteMemory> open(Pid pid);

  // process_vm_readv; falls back to /proc/PID/mem where a page is not readable.
  Result<void> read(RemoteAddr from, ByteSpan out) const;
  // Several stretches, one behind the other in `out`, in as few calls as the kernel allows.
  Result<void> read(std::span<const RemoteSpan> spans, ByteSpan out) const;
  // process_vm_writev: respects protection.
  Result<void> write(RemoteAddr to, ByteView bytes) const;
  // /proc/PID/mem: also writes pages that are not writable (never code of a living target).
  Result<void> write_forced(RemoteAddr to, ByteView bytes) const;

  template <class T>
  Result<T> read_object(RemoteAddr from) const {
    T object{};
    TRY(read(from, std::as_writable_bytes(std::span(&object, 1))));
    return object;
  }
  template <class T>
  Result<void> write_object(RemoteAddr to, const T& object) const {
    return write(to, std::as_bytes(std::span(&object, 1)));
  }
  [[nodiscard]] Pid pid() const { return pid_; }

 private:
  Pid pid_ = 0;
  UniqueFd mem_;  // /proc/PID/mem
};

}  // namespace stasis::trace
