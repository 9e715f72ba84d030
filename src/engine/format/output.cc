// Writing to whatever descriptor we were given.
#include "format/output.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>
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
Output::Output(int fd) : fd_(fd), was_pending_(sigpipe_pending()) {
  const sigset_t set = only_sigpipe();
  pthread_sigmask(SIG_BLOCK, &set, &old_mask_);
}

Output::~Output() {
  const sigset_t set = only_sigpipe();
  const timespec now{};
  if (!was_pending_ && sigpipe_pending()) (void)sigtimedwait(&set, nullptr, &now);  // ours
  pthread_sigmask(SIG_SETMASK, &old_mask_, nullptr);
}

Result<size_t> Output::write_some(ByteView bytes) {
  const auto put =
      sys::check(::write(fd_, bytes.data(), bytes.size()), "write", "the context file");
  if (put) return static_cast<size_t>(*put);
  if (put.error().code == EINTR) return size_t{0};
  if (put.error().code != EAGAIN) return put.error();
  pollfd ready{fd_, POLLOUT, 0};
  (void)::poll(&ready, 1, -1);  // whatever it says, the next write tells
  return size_t{0};
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
