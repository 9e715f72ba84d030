// Target: a process while it is being built. Seized by us with EXITKILL, empty but for the scratch
// area (stub, scripts, stacks of new threads) and the kernel's own vdso, until the passes of
// build.cc fill it. If building fails the destructor kills it; nothing remains.
#pragma once

#include <initializer_list>
#include <span>
#include <vector>

#include "base/result.h"
#include "base/types.h"
#include "trace/ptrace.h"
#include "trace/remote_memory.h"
#include "trace/script.h"

namespace stasis::restart {

// The address range that the build uses for itself; free in the layouts of all processes of the
// image and in ours. Chosen by choose_scratch() (pure). What lies where:
//   stub | stack of the leader | a slot (script, stack) per thread | big scripts | vdso room
// The kernel's own vdso areas ([vvar], [vvar_vclock], [vdso], in their order and without gaps) lie
// at the start of that room until rebuild_memory() moves them home; it is not mapped otherwise.
struct Scratch {
  RemoteAddr start;
  u64 length = 0;

  static constexpr u64 kVdsoRoom = 64 << 10;
  [[nodiscard]] RemoteAddr vdso_room() const { return start + (length - kVdsoRoom); }
};

struct ThreadScript {
  Pid tid = 0;
  trace::Script script;
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
  // Scripts of several threads at once: starts them all, then waits for them all. Outcomes are in
  // the order of `scripts`; the first error wins, but every thread is stopped again when it
  // returns.
  Result<std::vector<trace::ScriptOutcome>> run_together(std::span<const ThreadScript> scripts);
  // As run(), but a failed operation is no error: tells how many operations ran.
  Result<trace::ScriptRun> run_partly(const trace::Script& script);

  // Threads that exist, the leader first. A new one (of a clone3 with CLONE_PTRACE) is made known
  // here after its first stop has been consumed.
  [[nodiscard]] const std::vector<Pid>& threads() const { return threads_; }
  void add_thread(Pid tid) { threads_.push_back(tid); }
  // Top of the stack, in the scratch area, of the thread that is number `index` of threads().
  [[nodiscard]] RemoteAddr stack_of(size_t index) const;

  // One call by ptrace stops alone, at the syscall instruction `at` (the vdso's, when scratch and
  // stub must go): slower, but needs nothing in the target.
  Result<i64> bare_call(Pid tid, RemoteAddr at, i64 number, std::initializer_list<u64> args);

  // Executes the program of a descriptor. 0: it has become it, its memory is the program's, it
  // stands at the end of execve(2) and this Target is of no use any more. Else the kernel's errno.
  Result<int> execute(int fd);

  void release() { released_ = true; }

  // Scratch for `threads` threads: the stub, the leader's script, a slot per thread.
  static u64 scratch_length(size_t threads);

 private:
  struct Place {
    RemoteAddr script;
    RemoteAddr stack;  // top
  };
  [[nodiscard]] Result<Place> place_for(Pid tid, u64 length) const;
  Result<void> start(Pid tid, const Place& place, const trace::Script& script);
  Result<trace::ScriptRun> finish(Pid tid, const Place& place, const trace::Script& script);
  Result<trace::ScriptRun> run_at(Pid tid, const Place& place, const trace::Script& script);

  Pid pid_ = 0;
  std::vector<Pid> threads_;
  Scratch scratch_;
  trace::RemoteMemory memory_;
  bool released_ = false;
};

}  // namespace stasis::restart
