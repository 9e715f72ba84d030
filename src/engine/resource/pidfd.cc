// pidfds of processes of the image. The process does not exist when descriptors are made, so a
// placeholder takes the number until settle opens the real one in each process that has it.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/syscall.h>

#include <cerrno>

#include "base/sys.h"
#include "resource/kinds.h"
#include "resource/uses.h"

namespace stasis::resource {
namespace {

using model::PidFd;

constexpr u32 kThreadFlag = O_EXCL;  // PIDFD_THREAD

bool recognises(const FdFacts& facts) {
  return facts.info.has_pidfd;
}

std::optional<Refusal> obstacle(const FdFacts& facts, CaptureContext& context) {
  const Pid pid = facts.info.pidfd_pid;
  if (pid <= 0) {
    return Refusal{facts.describe(),
                   "it is a pidfd of a process that has ended, which cannot be made "
                   "again",
                   "only the program can close it, in a callback if it uses libcr"};
  }
  if (context.in_image(pid)) return std::nullopt;
  return Refusal{facts.describe(),
                 fmt::format("it is a pidfd of process {}, which is not being saved", pid),
                 "save both processes together"};
}

Result<model::Resource> capture(const FdFacts& facts, CaptureContext& context) {
  if (auto refusal = obstacle(facts, context)) {
    return fail(EOPNOTSUPP, refusal->subject + ": " + refusal->reason, refusal->advice);
  }
  return model::Resource(PidFd{facts.info.pidfd_pid, (facts.info.flags & kThreadFlag) != 0});
}

Result<UniqueFd> create(model::OpenFileIndex, RestoreContext&) {
  return sys::open("/dev/null", O_RDWR);
}

void settle(const model::Descriptor& descriptor, RestoreContext& context, SettleCalls& calls) {
  const model::OpenFile& file = context.image.open_files[descriptor.open_file];
  const auto& pidfd = std::get<PidFd>(context.image.resources[file.resource]);
  Pid pid = pidfd.pid;
  if (calls.ids != nullptr && calls.ids->contains(pid)) pid = calls.ids->at(pid);
  const u64 flags = (file.flags & O_NONBLOCK) | (pidfd.thread ? kThreadFlag : 0);
  trace::Script& script = *calls.script;
  const size_t opened = script.call(fmt::format("open a pidfd of process {}", pid), SYS_pidfd_open,
                                    {static_cast<u64>(pid), flags});
  for (const model::Descriptor& each : calls.process.descriptors) {
    if (each.open_file != descriptor.open_file) continue;
    const u64 close_on_exec = each.close_on_exec ? O_CLOEXEC : 0;
    script.call(fmt::format("place pidfd {}", each.number), SYS_dup3,
                {trace::ResultOf{opened}, static_cast<u64>(each.number), close_on_exec});
  }
  script.call("close a pidfd", SYS_close, {trace::ResultOf{opened}});
}

}  // namespace

const Handler kPidFdHandler = {
    .kind = PidFd::kKind,
    .recognises = recognises,
    .obstacle = obstacle,
    .identity = [](const FdFacts&) { return std::string(); },
    .capture = capture,
    .restore_obstacles = [](const model::Resource&,
                            const RestoreContext&) { return std::vector<Refusal>(); },
    .create = create,
    .settle = settle,
    .settle_in_each_process = true};

}  // namespace stasis::resource
