// Locks on files. OFD locks belong to open files and are taken here. POSIX locks belong to
// processes, and those of flock(2) bear the id of the process that took them: they take them
// (settle).
#pragma once

#include "resource/restore.h"

namespace stasis::resource {

// Locks that this descriptor shows and `file` has not yet: other processes' POSIX locks.
void add_locks(const FdFacts& facts, model::OpenFile& file);

// Takes the OFD locks, and finds out whether those of flock(2) can be taken.
Result<void> take_open_file_locks(int fd, model::OpenFileIndex index,
                                  const RestoreContext& context);
// EAGAIN naming the holder if somebody else has what a process of the image must take later.
Result<void> check_process_locks(const Restored& restored, const RestoreContext& context);
// The calls that take a process's own locks on one open file.
void settle_locks(const model::Descriptor& descriptor, const RestoreContext& context,
                  SettleCalls& calls);

}  // namespace stasis::resource
