// Event counters. Kernels before 6.5 do not tell whether one is a semaphore; then it is asked by
// one read that is undone at once (ask_semaphore).
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>

#include "base/sys.h"
#include "resource/kinds.h"
#include "resource/uses.h"

namespace stasis::resource {
namespace {

using model::EventFd;

bool recognises(const FdFacts& facts) {
  return facts.info.has_eventfd;
}

// No two eventfd open files share a counter: each descriptor's open file is its own resource.
std::string identity(const FdFacts&) {
  return {};
}

bool get(int fd, u64& value) {
  struct pollfd ready = {fd, POLLIN, 0};
  return ::poll(&ready, 1, 0) == 1 && ::read(fd, &value, sizeof value) == sizeof value;
}

bool put(int fd, u64 value) {
  return value == 0 || ::write(fd, &value, sizeof value) == sizeof value;
}

enum Answer { kPlain = 0, kSemaphore = 1, kUnknown = 2 };

// A semaphore gives 1 for a read, a plain counter gives everything. With less than 2 in it the
// difference does not show, so up to 2 are added first. Leaves the count as it was.
Answer probe(int fd, u64 count) {
  const u64 added = count < 2 ? 2 - count : 0;
  u64 got = 0;
  if (!put(fd, added) || !get(fd, got)) return kUnknown;
  const bool semaphore = got == 1;
  u64 now = semaphore ? count + added - 1 : 0;
  for (u64 one = 0; semaphore && now > count; --now) {
    if (!get(fd, one)) return kUnknown;
  }
  if (!put(fd, count - now)) return kUnknown;
  return semaphore ? kSemaphore : kPlain;
}

// Asks in a child of ours, in a session of its own: killing the checkpointer in between does not
// leave the target's counter changed. The target is frozen; nobody of it can see the moment.
Result<bool> ask_semaphore(const FdFacts& facts) {
  const u64 count = facts.info.eventfd_count;
  const pid_t child = ::fork();
  if (child == 0) {
    ::setsid();
    ::_exit(probe(facts.duplicate.get(), count));
  }
  TRY(sys::check(child, "ask about", facts.describe()));
  int status = 0;
  while (!sys::check(::waitpid(child, &status, 0), "await", "a child").ok()) {
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) == kUnknown) {
    return fail(EAGAIN, facts.describe() +
                            ": this kernel does not tell whether the eventfd is a "
                            "semaphore, and asking it failed");
  }
  return WEXITSTATUS(status) == kSemaphore;
}

Result<model::Resource> capture(const FdFacts& facts, CaptureContext&) {
  EventFd event;
  event.count = facts.info.eventfd_count;
  event.semaphore = facts.info.eventfd_semaphore == 1;
  if (facts.info.eventfd_semaphore < 0) event.semaphore = TRY(ask_semaphore(facts));
  return model::Resource(event);
}

Result<UniqueFd> make(const EventFd& event) {
  constexpr u64 kMaxInitial = std::numeric_limits<unsigned>::max();
  const u64 initial = std::min(event.count, kMaxInitial);
  const int flags = EFD_CLOEXEC | (event.semaphore ? EFD_SEMAPHORE : 0);
  UniqueFd fd(
      TRY(sys::check(::eventfd(static_cast<unsigned>(initial), flags), "make", "an eventfd")));
  const u64 rest = event.count - initial;
  if (rest != 0) TRY(sys::write_all(fd.get(), std::as_bytes(std::span(&rest, 1))));
  return fd;
}

// A second open file of the same counter is made through /proc, which eventfd does not allow: there
// is exactly one.
Result<UniqueFd> create(model::OpenFileIndex index, RestoreContext& context) {
  const model::OpenFile& open_file = context.image.open_files[index];
  const auto& event = std::get<EventFd>(context.image.resources[open_file.resource]);
  return make(event).context(subject_of(context.image, index, "eventfd"));
}

}  // namespace

const Handler kEventFdHandler = {
    .kind = EventFd::kKind,
    .recognises = recognises,
    .obstacle = [](const FdFacts&, CaptureContext&) { return std::optional<Refusal>(); },
    .identity = identity,
    .capture = capture,
    .restore_obstacles = [](const model::Resource&,
                            const RestoreContext&) { return std::vector<Refusal>(); },
    .create = create,
    .settle = nullptr};

}  // namespace stasis::resource
