// ThreadStop: holds one thread of a living process still, while all its others run on. execve(2) in
// one of them waits for it, so that the process keeps its memory for as long. For threads whose
// calls may be begun anew (libcr's callback thread in futex(2)): nothing is done about EINTR here.
#pragma once

#include "base/result.h"
#include "base/types.h"

namespace stasis::trace {

class ThreadStop {
 public:
  // Within `timeout_ms`. ESRCH: it has exited; ETIMEDOUT; EPERM and its kind as Freeze tells them.
  // After an error it runs.
  static Result<ThreadStop> take(Pid pid, Pid tid, i64 timeout_ms);
  ThreadStop(ThreadStop&& other) noexcept;
  ThreadStop& operator=(ThreadStop&&) = delete;
  ~ThreadStop();  // lets it go

  // Its process had been stopped by a signal, and is again when it is let go.
  [[nodiscard]] bool in_group_stop() const { return in_group_stop_; }

 private:
  explicit ThreadStop(Pid tid) : tid_(tid) {}
  Result<void> stop(i64 deadline_ns);

  Pid tid_;         // 0: not ours any more
  int signal_ = 0;  // that was on its way to it when the time was over
  bool in_group_stop_ = false;
};

}  // namespace stasis::trace
