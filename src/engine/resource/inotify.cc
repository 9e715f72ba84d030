// inotify instances: which paths, with which masks, under which watch descriptors. Events that the
// program has not read cannot be put back, so a moment with some in the queue is refused.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <map>

#include "base/sys.h"
#include "resource/inotify_paths.h"
#include "resource/kinds.h"
#include "resource/path.h"
#include "resource/reopen.h"
#include "resource/uses.h"

namespace stasis::resource {
namespace {

using model::Inotify;
using model::InotifyWatch;

constexpr i32 kMaxSkipped = 200'000;  // watch descriptors to use up for a high one (0.2 s)
constexpr u32 kMaskBits = IN_ALL_EVENTS | IN_EXCL_UNLINK | IN_ONESHOT;

bool recognises(const FdFacts& facts) {
  return facts.link == "anon_inode:inotify" || facts.link == "anon_inode:[inotify]";
}

std::optional<Refusal> queued_events(const FdFacts& facts) {
  int bytes = 0;
  if (!facts.duplicate || ::ioctl(facts.duplicate.get(), FIONREAD, &bytes) != 0 || bytes == 0) {
    return std::nullopt;
  }
  return Refusal{
      facts.describe(),
      fmt::format("{} bytes of file events wait in it that the program has not read; they "
                  "cannot be put back",
                  bytes),
      "try again: a program that runs reads them soon"};
}

// The name that a watched file had, if the process holds it open and it has been removed.
std::string removed_name(const FdFacts& facts, u64 inode) {
  const auto numbers = proc::read_descriptors(facts.pid);
  for (const int number : numbers ? *numbers : std::vector<int>()) {
    const auto status = sys::stat(fmt::format("/proc/{}/fd/{}", facts.pid, number));
    const auto link = proc::read_fd_link(facts.pid, number);
    if (!status || status->st_ino != inode || !link) continue;
    if (const LinkName name = split_link(*link); name.deleted) return name.path;
  }
  return {};
}

Refusal lost_path(const FdFacts& facts, const proc::InotifyEntry& watch) {
  if (const std::string name = removed_name(facts, watch.inode); !name.empty()) {
    return {facts.describe(),
            fmt::format("it watches {}, which has been removed, so that it could not be watched "
                        "again",
                        name),
            "make it again under that name, and try again when the program watches the new one"};
  }
  return {facts.describe(),
          fmt::format("it watches inode {} of device {:x}, whose path could not be "
                      "found",
                      watch.inode, watch.device),
          "start the program with the watched directory as its working directory or an argument"};
}

using Paths = std::map<i32, std::string>;

std::optional<Refusal> unwatchable(const FdFacts& facts, const Paths& paths) {
  for (const proc::InotifyEntry& watch : facts.info.inotify) {
    if (!paths.contains(watch.wd)) return lost_path(facts, watch);
    if (watch.wd > kMaxSkipped) {
      return Refusal{
          facts.describe(),
          fmt::format("it has a watch descriptor too high to be had again ({})", watch.wd), ""};
    }
  }
  return std::nullopt;
}

// Queued events come and go, so only the capture itself looks at them.
std::optional<Refusal> obstacle(const FdFacts& facts, CaptureContext&) {
  return unwatchable(facts, find_watched_paths(facts.pid, facts.info.inotify));
}

Result<model::Resource> capture(const FdFacts& facts, CaptureContext&) {
  Paths paths = find_watched_paths(facts.pid, facts.info.inotify);
  auto refusal = queued_events(facts);
  if (!refusal) refusal = unwatchable(facts, paths);
  if (refusal) return fail(EBUSY, refusal->subject + ": " + refusal->reason, refusal->advice);
  Inotify inotify;
  for (const proc::InotifyEntry& watch : facts.info.inotify) {
    inotify.watches.push_back({watch.wd, watch.mask & kMaskBits, paths[watch.wd]});
  }
  std::ranges::sort(inotify.watches, {}, &InotifyWatch::descriptor);
  return model::Resource(inotify);
}

// ------------------------------------------------------------------ restart

std::vector<Refusal> restore_obstacles(const model::Resource& resource,
                                       const RestoreContext& context) {
  std::vector<Refusal> refusals;
  for (const InotifyWatch& watch : std::get<Inotify>(resource).watches) {
    // inotify_add_watch(2) asks for permission to read.
    const auto obstacle = reopen_obstacle(context.relocate(watch.path), O_RDONLY, 0);
    if (!obstacle) continue;
    refusals.push_back({subject_of(context.image, resource, "inotify"), obstacle->message(),
                        "put back what it watched, and let it be read", obstacle->code});
  }
  return refusals;
}

// Removing a watch queues IN_IGNORED; what we caused must not reach the program.
Result<void> drain(int fd) {
  std::array<std::byte, 65536> events;
  while (true) {
    const auto got = sys::read_some(fd, events);
    if (got && *got > 0) continue;
    if (got || got.error().code == EAGAIN) return {};
    return got.error();
  }
}

// Watch descriptors are given out ascending and not used again: the ones below are used up.
Result<void> add_watch(int fd, const InotifyWatch& watch, const std::string& path) {
  constexpr int kDrainEvery = 4096;  // below max_queued_events
  for (i32 tries = 0; tries <= kMaxSkipped; ++tries) {
    const int wd =
        TRY(sys::check(::inotify_add_watch(fd, path.c_str(), watch.mask), "watch", path));
    if (wd == watch.descriptor) return {};
    TRY(sys::check(::inotify_rm_watch(fd, wd), "stop watching", path));
    if (wd > watch.descriptor) break;
    if (tries % kDrainEvery == kDrainEvery - 1) TRY(drain(fd));
  }
  return fail(EINVAL, fmt::format("watch descriptor {} for {} could not be had again",
                                  watch.descriptor, path));
}

Result<UniqueFd> create(model::OpenFileIndex index, RestoreContext& context) {
  const model::OpenFile& open_file = context.image.open_files[index];
  const auto& inotify = std::get<Inotify>(context.image.resources[open_file.resource]);
  const std::string subject = subject_of(context.image, index, "inotify");
  UniqueFd fd(TRY(sys::check(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK), "make", subject)));
  for (const InotifyWatch& watch : inotify.watches) {
    TRY(add_watch(fd.get(), watch, context.relocate(watch.path)).context(subject));
  }
  TRY(drain(fd.get()).context(subject));
  return fd;
}

}  // namespace

const Handler kInotifyHandler = {.kind = Inotify::kKind,
                                 .recognises = recognises,
                                 .obstacle = obstacle,
                                 .identity = [](const FdFacts&) { return std::string(); },
                                 .capture = capture,
                                 .restore_obstacles = restore_obstacles,
                                 .create = create,
                                 .settle = nullptr};

}  // namespace stasis::resource
