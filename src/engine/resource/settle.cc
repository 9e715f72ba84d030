// The second pass over descriptors, inside the targets: what needs all processes, or the process
// itself, to exist. Pure: it only appends calls to a script.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/syscall.h>

#include <set>
#include <vector>

#include "resource/follow.h"
#include "resource/kinds.h"
#include "resource/locks.h"
#include "resource/restore.h"
#include "resource/uses.h"

namespace stasis::resource {
namespace {

// Who gets SIGIO, and which signal instead.
void settle_owner(const model::Descriptor& descriptor, RestoreContext& context,
                  SettleCalls& calls) {
  const model::OpenFile& file = context.image.open_files[descriptor.open_file];
  const auto number = static_cast<u64>(descriptor.number);
  const std::string name = fmt::format("descriptor {}", descriptor.number);
  if (file.owner != 0) {
    Pid owner = file.owner;
    if (calls.ids != nullptr && calls.ids->contains(owner)) owner = calls.ids->at(owner);
    const struct f_owner_ex value = {
        .type = static_cast<decltype(f_owner_ex::type)>(file.owner_type), .pid = owner};
    // The owner may be a process that is not in the image, and gone: then no process gets the
    // signal.
    calls.script->attempt("set the owner of " + name, SYS_fcntl,
                          {number, u64{F_SETOWN_EX}, calls.script->object(value)});
  }
  if (file.signal != 0) {
    calls.script->call("set the signal of " + name, SYS_fcntl,
                       {number, u64{F_SETSIG}, static_cast<u64>(file.signal)});
  }
  if ((file.flags & O_ASYNC) != 0) {
    calls.script->call("switch on signals of " + name, SYS_fcntl,
                       {number, u64{F_SETFL}, u64{file.flags}});
  }
}

void settle_descriptor(const model::Descriptor& descriptor, bool first_process,
                       RestoreContext& context, SettleCalls& calls) {
  const model::OpenFile& file = context.image.open_files[descriptor.open_file];
  const model::Resource& resource = context.image.resources[file.resource];
  const Handler* handler = handler_of(resource);
  if (handler->settle != nullptr && (first_process || handler->settle_in_each_process)) {
    handler->settle(descriptor, context, calls);
  }
  if (follows_requester(resource)) return;
  settle_locks(descriptor, context, calls);
  if (first_process) settle_owner(descriptor, context, calls);
}

// The open files that processes before this one have.
std::vector<bool> seen_before(const model::Process& process, const model::Image& image) {
  std::vector<bool> seen(image.open_files.size());
  for (const model::Process& other : image.processes) {
    if (other.pid == process.pid) break;
    for (const model::Descriptor& descriptor : other.descriptors) {
      seen[descriptor.open_file] = true;
    }
  }
  return seen;
}

}  // namespace

void settle(RestoreContext& context, SettleCalls& calls) {
  const std::vector<bool> earlier = seen_before(calls.process, context.image);
  // Pidfds take their numbers first: an epoll instance may watch one.
  for (const bool pidfds : {true, false}) {
    std::set<model::OpenFileIndex> seen;
    for (const model::Descriptor& descriptor : calls.process.descriptors) {
      if (!seen.insert(descriptor.open_file).second) continue;
      const model::OpenFile& file = context.image.open_files[descriptor.open_file];
      const auto& resource = context.image.resources[file.resource];
      if (std::holds_alternative<model::PidFd>(resource) != pidfds) continue;
      settle_descriptor(descriptor, !earlier[descriptor.open_file], context, calls);
    }
  }
  for (model::ResourceIndex i = 0; i < context.image.resources.size(); ++i) {
    const auto sealed = seal_memfd(i, true, context);
    if (!sealed) context.notes.push_back(sealed.error().message());
  }
}

}  // namespace stasis::resource
