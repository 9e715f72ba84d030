// The engine as cli/ and libcr's helper see it: checkpoint, restart, inspect. Each body is a list
// of passes. Nothing here prints.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/types.h"
#include "base/unique_fd.h"
#include "format/destination.h"
#include "format/image_file.h"
#include "model/image.h"
#include "resource/handler.h"
#include "restart/build.h"

namespace stasis::engine {

// BLCR's scopes with its values (cr_scope_t).
enum class Scope : u32 { kProcess = 0, kGroup = 1, kSession = 2, kTree = 3 };

using Progress = std::function<bool(u64 done_bytes, u64 total_bytes)>;

// BLCR's rules for tracing and traced processes of a scope.
enum class PtracePolicy {
  kError,  // refuse (CR_EPTRACED, CR_EPTRACER)
  kAllow,  // stop it, and wait, within the time limit, until the tracer detaches; then as kError
  kSkip,   // leave the process out
};

struct CheckpointRequest {
  Pid target = 0;
  Scope scope = Scope::kTree;
  std::string file;  // destination, unless fd is given
  UniqueFd fd;
  format::DestinationOptions destination;
  format::WriteOptions write;
  bool save_executable = false, save_private = false, save_shared = false;
  bool carry_small = true;  // small files below /tmp, /dev/shm and /run travel with the image
  int signal = 0;           // sent to every saved process afterwards; negative: before it runs on
  i64 time_limit_ms = -1;   // for the whole checkpoint; the target goes on, ETIMEDOUT
  Pid requester = 0;        // whom callbacks are told of; 0: this process
  bool require_libcr = false;  // CR_ENOSUPPORT when a process has neither libcr nor a stub
  bool prohibit_self = false;  // EDEADLK when the requester is in the scope
  bool check_restart = true;   // refuse what could not be restarted here and now; else it is a note
  PtracePolicy ptraced = PtracePolicy::kError;   // members that somebody traces (kPtraced)
  PtracePolicy ptracers = PtracePolicy::kError;  // members that trace somebody (kPtracer)
  // Called once the scope is known and nothing refuses it, before anything is stopped, and before
  // (again and again) a tracer of the scope is waited for.
  std::function<void(const std::vector<Pid>& pids)> accepted;
  // Words on the stacks of threads that did not arrive in time, for the error's message.
  std::function<std::string(const model::Image&, model::PageSource&, std::span<const Pid> tids)>
      explain_late;
};

struct CheckpointReport {
  std::vector<Pid> pids;  // saved, the root first
  std::string file;
  size_t threads = 0;
  u64 memory_bytes = 0;  // page contents looked at
  format::WriteReport written;
  i64 pause_us = 0;
  i64 total_us = 0;
  std::vector<std::string> notes;  // what the user should know, a sentence each
};

// Why `target` could not be saved, or (with `check_restart`) not restarted from what would be
// saved, as far as that can be seen; empty when it could. Touches nothing.
Result<std::vector<Refusal>> check(Pid target, Scope scope, bool check_restart = true);

// Saves and lets run on (or sends the signal). On error the target runs on as before and no file
// remains. Refusals are one Error (EOPNOTSUPP...) whose message lists them all, a line each.
Result<CheckpointReport> checkpoint(CheckpointRequest request);

enum class PidPolicy { kRestore, kNew };

struct RestartRequest {
  UniqueFd source;   // the context file, or a pipe
  std::string name;  // for messages
  resource::RestoreOptions files;
  PidPolicy pids = PidPolicy::kRestore;
  bool allow_namespaces = true;          // rung 3 of the ladder
  bool namespaces_if_held = false;       // ... when an id is in use here, too; else EBUSY then
  bool namespaces_if_strangers = false;  // ... if by no program of the name of one that was saved
  // How long a walk of the pid counter may take; none: what BuildOptions says.
  std::optional<i64> walk_time_ms;
  bool restore_group = false, restore_session = false;
  bool ignore_cpu_features = false;
  int signal = 0;  // sent once rebuilt, before BLCR's default (as before the checkpoint)
  bool parent_is_caller = false;  // the root becomes the child of our parent (CLONE_PARENT)
  std::function<void(Pid)> made_for_parent;  // then: each child that it gets, though killed again
  Pid requester = 0;                         // whom callbacks are told of; 0: this process
  Progress progress;
  // While the pid counter is walked, in ids; false: give up.
  std::function<bool(u64 done_ids, u64 total_ids)> walk_progress;
};

// How the ids were had, in words that go behind "ids": "restored by clone3(set_tid)", "new", ...
std::string_view describe(restart::IdWay way);

struct RestartReport {
  Pid root = 0;         // child of the caller, waitable; in the caller's pid namespace
  Pid root_inside = 0;  // as it sees itself (differs with kNamespaces only)
  std::vector<Pid> pids;
  size_t threads = 0;
  u64 memory_bytes = 0;
  restart::IdWay way = restart::IdWay::kSetTid;
  i64 total_us = 0;
  std::vector<std::string> notes;  // what was done that the user should know, a sentence each
};

// Rebuilds the processes of a context file; they run when this returns. On error nothing remains.
Result<RestartReport> restart(RestartRequest request);

// A context file opened for looking at (cr_info); "-": standard input.
Result<format::OpenedImage> inspect(const std::string& path);

}  // namespace stasis::engine
