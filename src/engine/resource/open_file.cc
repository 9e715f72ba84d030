// The open file description itself, whatever it refers to: flags, offset, owner, signal, locks.
// Read from a duplicate with fcntl's getters and from fdinfo; nothing is changed.
#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>

#include "base/sys.h"
#include "resource/handler.h"
#include "resource/locate.h"
#include "resource/locks.h"

namespace stasis::resource {
namespace {

bool has_lease(const FdFacts& facts) {
  for (const proc::LockEntry& lock : facts.info.locks) {
    if (lock.type != "FLOCK" && lock.type != "POSIX" && lock.type != "OFDLCK") return true;
  }
  return false;
}

std::vector<model::FileLock> locks_of(const FdFacts& facts) {
  std::vector<model::FileLock> locks;
  for (const proc::LockEntry& entry : facts.info.locks) {
    model::FileLock lock;
    lock.type = entry.type;
    lock.exclusive = entry.exclusive;
    // A POSIX lock belongs to a process, one of flock(2) only bears the id of whoever took it.
    lock.owner = entry.type == "OFDLCK" ? 0 : entry.owner;
    lock.start = entry.start;
    lock.end = entry.end;
    locks.push_back(lock);
  }
  return locks;
}

Result<void> add_owner(const FdFacts& facts, model::OpenFile& file) {
  struct f_owner_ex owner = {};
  TRY(sys::check(::fcntl(facts.duplicate.get(), F_GETOWN_EX, &owner), "ask for the owner of",
                 facts.describe()));
  if (owner.pid != 0) {
    file.owner_type = static_cast<i32>(owner.type);
    file.owner = owner.pid;
  }
  file.signal = TRY(sys::check(::fcntl(facts.duplicate.get(), F_GETSIG), "ask for the signal of",
                               facts.describe()));
  return {};
}

// A fifo is one thing under all its names; which of them was used, the descriptor shows.
void add_name(const FdFacts& facts, const model::Resource& resource, model::OpenFile& file) {
  const auto* pipe = std::get_if<model::Pipe>(&resource);
  if (pipe == nullptr || pipe->path.empty()) return;
  const LinkName name = name_opened(facts);
  if (name.path == pipe->path && name.deleted == pipe->deleted) return;
  file.name = name.path;
  file.name_removed = name.deleted;
}

}  // namespace

void add_locks(const FdFacts& facts, model::OpenFile& file) {
  for (model::FileLock& lock : locks_of(facts)) {
    if (std::ranges::find(file.locks, lock) == file.locks.end()) {
      file.locks.push_back(std::move(lock));
    }
  }
}

std::vector<Refusal> obstacles(const FdFacts& facts, CaptureContext& context) {
  std::vector<Refusal> refusals;
  const Handler* handler = handler_for(facts);
  if (handler == nullptr) return {refuse_unknown(facts)};
  if (auto refusal = handler->obstacle(facts, context)) refusals.push_back(std::move(*refusal));
  if (has_lease(facts)) {
    refusals.push_back({facts.describe(),
                        "it holds a lease (F_SETLEASE), which cannot be taken "
                        "again with its state",
                        "only the program can give it up, in a callback if it uses libcr"});
  }
  return refusals;
}

Result<model::OpenFile> capture_open_file(const FdFacts& facts, model::ResourceIndex index,
                                          const model::Resource& resource) {
  model::OpenFile file;
  file.resource = index;
  file.flags = facts.info.flags & ~static_cast<u32>(O_CLOEXEC);
  file.offset = facts.info.position;
  file.locks = locks_of(facts);
  add_name(facts, resource, file);
  if ((file.flags & O_PATH) == 0 && facts.duplicate) TRY(add_owner(facts, file));
  return file;
}

}  // namespace stasis::resource
