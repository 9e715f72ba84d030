// Target: a process while it is being built. Seized by us with EXITKILL, empty but for the scratch
// area (stub, scripts, stacks of new threads) and the kernel's own vdso, until the passes of
// build.cc fill it. If building fails the destructor kills it; nothing remains.
#pragma once

#include <vector>

#include "base/result.h"
#include "base/types.h"
#include "trace/remote_memory.h"
#include "trace/script.h"

namespace stasis::restart {

// Address ranges that the build uses for itself; free in the layouts of all processes of the image
// and in ours. Chosen by choose_scratch() (pure).
struct Scratch {
  RemoteAddr start;
  u64 length = 0;
};

class Target {
 public:
  Target(Pid pid, Scratch scratch, trace::RemoteMemory memory);
  Target(Target&&) noexcept;
  Target& operator=(Target&&) = delete;
  ~Target();  // kills and reaps the process unless released

  [[nodiscard]] Pid pid() const { return pid_; }
  [[nodiscard]] Scratch scratch() const { return scratch_; }
  trace::RemoteMemory& memory() { return memory_; }

  // Runs a script in the leader, or in one thread (which must be stopped). The error names the
  // operation that failed, with its `what` and the kernel's answer. Thread scripts use one slot per
  // thread, so that scripts of several threads may be started together: start all, then finish all.
  Result<trace::ScriptOutcome> run(const trace::Script& script);
  Result<trace::ScriptOutcome> run_in(Pid tid, const trace::Script& script);
  // One call by ptrace stops alone, at the syscall instruction `at` (the vdso's, when scratch and
  // stub must go): slower, but needs nothing in the target.
  Result<i64> bare_call(Pid tid, RemoteAddr at, i64 number, std::initializer_list<u64> args);

  void release() { released_ = true; }

 private:
  Pid pid_ = 0;
  Scratch scratch_;
  trace::RemoteMemory memory_;
  bool released_ = false;
};

}  // namespace stasis::restart
