// RemoteCalls: system calls made inside a thread of a living, frozen target, insured: a signal
// frame with the thread's true state lies on its own stack, so that our death at any instant ends
// in rt_sigreturn and the thread goes on as if nothing had been. No code, mapping or trap is
// placed. Only calls that are harmless to finish may be made (queries; nothing that creates).
#pragma once

#include <array>
#include <initializer_list>

#include "base/result.h"
#include "trace/freeze.h"

namespace stasis::trace {

class RemoteCalls {
 public:
  // Prepares `thread` of the frozen process. EOPNOTSUPP, with the reason, where it is not safe
  // (seccomp filter, shadow stack, user dispatch, no gadget, no room on a stack).
  static Result<RemoteCalls> begin(FrozenProcess& process, FrozenThread& thread);
  RemoteCalls(RemoteCalls&&) noexcept;
  ~RemoteCalls();  // as finish()

  // The kernel's raw result: negative errno on failure. An Error only if the target was lost.
  Result<i64> call(i64 number, std::initializer_list<u64> args);
  // kScratchSize bytes in the thread's memory for the calls' structures.
  static constexpr u64 kScratchSize = 1024;
  [[nodiscard]] RemoteAddr scratch() const;
  // Puts everything back. The thread is stopped as Freeze left it.
  Result<void> finish();

  class State;

 private:
  explicit RemoteCalls(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace stasis::trace
