// Writing to whatever descriptor we were given.
#include "format/output.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <ctime>

#include "base/sys.h"

namespace stasis::format {
namespace {

sigset_t only_sigpipe() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGPIPE);
  return set;
}

bool sigpipe_pending() {
  sigset_t pending;
  sigpending(&pending);
  return sigismember(&pending, SIGPIPE) == 1;
}

}  // namespace

// A write to a pipe without reader queues SIGPIPE for the writing thread alone, so blocking it here
// and taking it back at the end leaves no trace, whatever the program does with SIGPIPE.
Output::Output(int fd, std::function<bool()> keep_going)
    : fd_(fd), keep_going_(std::move(keep_going)), was_pending_(sigpipe_pending()) {
  const auto status = sys::fstat(fd);
  may_block_ = !status || !S_ISREG(status->st_mode);
  const sigset_t set = only_sigpipe();
  pthread_sigmask(SIG_BLOCK, &set, &old_mask_);
}

Output::~Output() {
  const sigset_t set = only_sigpipe();
  const timespec now{};
  if (!was_pending_ && sigpipe_pending()) (void)sigtimedwait(&set, nullptr, &now);  // ours
  pthread_sigmask(SIG_SETMASK, &old_mask_, nullptr);
}

Result<void> Output::wait_for_room() {
  constexpr int kTickMs = 100;
  pollfd ready{fd_, POLLOUT, 0};
  while (::poll(&ready, 1, kTickMs) <= 0) {  // a signal is as good as a tick
    if (!keep_going_()) return fail(ECANCELED, "stopped as asked");
  }
  return {};
}

// A pipe that polls as writable takes PIPE_BUF bytes without blocking, more may block (pipe(7)).
Result<size_t> Output::write_some(ByteView bytes) {
  if (may_block_) {
    TRY(wait_for_room());
    bytes = bytes.first(std::min<size_t>(bytes.size(), PIPE_BUF));
  }
  const auto put =
      sys::check(::write(fd_, bytes.data(), bytes.size()), "write", "the context file");
  if (put) return static_cast<size_t>(*put);
  if (put.error().code == EINTR || put.error().code == EAGAIN) return size_t{0};
  return put.error();
}

Result<void> Output::write(ByteView bytes) {
  while (!bytes.empty()) {
    const size_t put = TRY(write_some(bytes));
    position_ += put;
    bytes = bytes.subspan(put);
  }
  return {};
}

}  // namespace stasis::format
