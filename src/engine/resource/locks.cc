// Taking locks again. Somebody else may have taken them since: that is an error by name, before any
// process exists, never a wait.
#include "resource/locks.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>

#include "base/sys.h"
#include "resource/uses.h"

namespace stasis::resource {
namespace {

struct flock range_of(const model::FileLock& lock) {
  struct flock range = {};
  range.l_type = lock.exclusive ? F_WRLCK : F_RDLCK;
  range.l_whence = SEEK_SET;
  range.l_start = static_cast<off_t>(lock.start);
  const bool to_the_end = lock.end == ~u64{0} || lock.end >= (u64{1} << 63) - 1;
  range.l_len = to_the_end ? 0 : static_cast<off_t>(lock.end - lock.start + 1);
  return range;
}

std::string name_of(const model::Resource& resource) {
  if (const auto* file = std::get_if<model::RegularFile>(&resource)) return file->path;
  if (const auto* directory = std::get_if<model::Directory>(&resource)) return directory->path;
  return "";
}

std::string subject(const RestoreContext& context, model::OpenFileIndex index) {
  const model::OpenFile& file = context.image.open_files[index];
  return subject_of(context.image, index, name_of(context.image.resources[file.resource]));
}

// Which process of the image takes a lock of flock(2): the one that did, where it still can.
Pid taker_of(const model::FileLock& lock, model::OpenFileIndex index,
             const RestoreContext& context) {
  const auto holds = [&](const model::Process& process) {
    return std::ranges::find(process.descriptors, index, &model::Descriptor::open_file) !=
           process.descriptors.end();
  };
  for (const model::Process& process : context.image.processes) {
    if (process.pid == lock.owner && holds(process)) return process.pid;
  }
  const auto first = first_use(context.image, index);
  return first ? first->process->pid : 0;
}

Error taken(const std::string& subject, int code, Pid holder) {
  const std::string who = holder > 0 ? fmt::format("process {}", holder) : "somebody else";
  return fail(code, fmt::format("{}: its lock is held by {} now", subject, who),
              "end whoever holds the lock, then restart");
}

}  // namespace

Result<void> take_open_file_locks(int fd, model::OpenFileIndex index,
                                  const RestoreContext& context) {
  for (const model::FileLock& lock : context.image.open_files[index].locks) {
    int result = 0;
    if (lock.type == "FLOCK") {
      result = ::flock(fd, (lock.exclusive ? LOCK_EX : LOCK_SH) | LOCK_NB);
      if (result == 0) (void)::flock(fd, LOCK_UN);  // that of ours would bear our id
    } else if (lock.type == "OFDLCK") {
      struct flock range = range_of(lock);
      result = ::fcntl(fd, F_OFD_SETLK, &range);
    }
    if (sys::check(result, "lock", "").ok()) continue;
    return taken(subject(context, index), EAGAIN, 0);
  }
  return {};
}

Result<void> check_process_locks(const Restored& restored, const RestoreContext& context) {
  for (model::OpenFileIndex i = 0; i < context.image.open_files.size(); ++i) {
    for (const model::FileLock& lock : context.image.open_files[i].locks) {
      if (lock.type != "POSIX") continue;
      struct flock range = range_of(lock);
      TRY(sys::check(::fcntl(restored.open_files[i].get(), F_GETLK, &range), "look for locks on",
                     subject(context, i)));
      if (range.l_type != F_UNLCK) return taken(subject(context, i), EAGAIN, range.l_pid);
    }
  }
  return {};
}

void settle_locks(const model::Descriptor& descriptor, const RestoreContext& context,
                  SettleCalls& calls) {
  const model::OpenFile& file = context.image.open_files[descriptor.open_file];
  for (const model::FileLock& lock : file.locks) {
    const auto number = static_cast<u64>(descriptor.number);
    const std::string what = "take the lock of " + subject(context, descriptor.open_file);
    if (lock.type == "POSIX" && lock.owner == calls.process.pid) {
      calls.script->call(what, SYS_fcntl,
                         {number, u64{F_SETLK}, calls.script->object(range_of(lock))});
    }
    if (lock.type == "FLOCK" &&
        taker_of(lock, descriptor.open_file, context) == calls.process.pid) {
      const int operation = (lock.exclusive ? LOCK_EX : LOCK_SH) | LOCK_NB;
      calls.script->call(what, SYS_flock, {number, static_cast<u64>(operation)});
    }
  }
}

}  // namespace stasis::resource
