// The handlers, one per kind: each is defined in the file of its name and listed in registry.cc.
#pragma once

#include "resource/handler.h"

namespace stasis::resource {

extern const Handler kRegularFileHandler;
extern const Handler kDirectoryHandler;
extern const Handler kDeviceHandler;
extern const Handler kTerminalHandler;
extern const Handler kPipeHandler;
extern const Handler kEventFdHandler;
extern const Handler kEpollHandler;
extern const Handler kTimerFdHandler;
extern const Handler kSignalFdHandler;
extern const Handler kMemfdHandler;
extern const Handler kSharedMemoryHandler;
extern const Handler kInotifyHandler;
extern const Handler kPidFdHandler;

// The second half of making carried files (restore.cc): permissions and times, when all open files
// are there.
Result<void> finish_regular_file(model::ResourceIndex resource, RestoreContext& context);
// Owner and permissions of a pipe, when all of its ends are there.
Result<void> finish_pipe(model::ResourceIndex resource, RestoreContext& context);
// The O_RDWR descriptor of a carried file or memfd, made on first use.
Result<int> carried_descriptor(model::ResourceIndex resource, RestoreContext& context);
Result<int> memfd_descriptor(model::ResourceIndex resource, RestoreContext& context);
// Forbids what the memfd's seals forbid; called when it is filled and mapped.
Result<void> seal_memfd(model::ResourceIndex resource, bool mapped, RestoreContext& context);

}  // namespace stasis::resource
