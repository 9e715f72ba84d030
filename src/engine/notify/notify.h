// The engine's side of the handshake with libcr (docs/handshake.md): finds control blocks, lets
// callbacks run and threads park before a freeze, and tells them afterwards how it went.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/types.h"
#include "base/unique_fd.h"
#include "trace/freeze.h"

namespace stasis::notify {

// What callbacks are told (cr_get_checkpoint_info).
struct Announcement {
  Pid requester = 0;
  Pid target = 0;
  u32 scope = 0;
  int signal = 0;
  std::string destination;
};

struct LateThread {
  Pid pid = 0, tid = 0;
};

// A call of cr_forward_checkpoint().
struct Forward {
  u32 scope = 0;
  Pid target = 0;
  Pid by = 0;  // the process that asked for it
};

// What bounds the waiting, and what is decided meanwhile.
struct Terms {
  std::function<i64()> left_ms;             // time left; negative: no limit
  std::function<bool()> cancelled;          // asked now and then; may be empty
  std::vector<LateThread>* late = nullptr;  // filled on ETIMEDOUT
  // Whether processes can be taken in: all that belong to the request then. The caller of
  // cr_forward_checkpoint() waits for it, and gets an error's code. Empty: EOPNOTSUPP.
  std::function<Result<std::vector<Pid>>(const Forward&)> forward;
};

// A control block, as found in a living process.
struct Block {
  Pid pid = 0;
  RemoteAddr address;
  u32 kind = 0;       // enum cri_kind
  u32 omit_rule = 0;  // enum cri_omit_rule
  bool takes_part = false;
  std::vector<u64> handles;  // inode numbers of the pipes behind requests that are under way
};

// The blocks of those of `pids` that have one. Touches nothing (process_vm_readv of candidates).
std::vector<Block> find_blocks(std::span<const Pid> pids);

// Locks processes against other requests (flock on /proc/PID/mem, gone with us): EBUSY names the
// one that is in another checkpoint already.
class Claim {
 public:
  static Result<Claim> take(std::span<const Pid> pids);
  Result<void> add(Pid pid);
  Result<void> add(std::span<const Pid> pids);  // all, or none of those that were not there
  [[nodiscard]] size_t size() const { return pids_.size(); }
  void release_from(size_t size);  // those that were added since it had this size
  Claim(Claim&&) noexcept = default;
  Claim& operator=(Claim&&) noexcept = default;

 private:
  Claim() = default;
  std::vector<UniqueFd> locks_;
  std::vector<Pid> pids_;
};

// How one request goes on with all processes that take part. Its destructor aborts what nobody has
// told a verdict (CR_ETEMPFAIL), so that nothing stays parked; a Freeze must have ended before.
class Handshake {
 public:
  // Steps 2 to 5 for those of `pids` that take part. Errors: EBUSY, CR_ETEMPFAIL, CR_EPERMFAIL (or
  // the user's code; after PERM all of `pids` are killed), ETIMEDOUT with the threads that did not
  // park, ECANCELED; everybody has been told.
  static Result<Handshake> gather(std::span<const Pid> pids, const Announcement& announcement,
                                  Terms terms);
  Handshake(Handshake&&) noexcept;
  Handshake& operator=(Handshake&&) noexcept;
  ~Handshake();

  [[nodiscard]] bool anybody() const;              // whether any process takes part
  [[nodiscard]] bool takes_part(Pid pid) const;    // and has not died
  [[nodiscard]] std::vector<Pid> omitted() const;  // left themselves out
  [[nodiscard]] bool was_stopped(Pid pid) const;   // and has been made to run
  // Adds processes that appeared: gathers those of them that take part.
  Result<void> add(std::span<const Pid> pids);

  // Step 6: whether every thread of those that take part is parked, and nobody else takes part. If
  // not: thaw, settle(), freeze again.
  Result<bool> is_settled(trace::Freeze& freeze);
  Result<void> settle();
  // Of the frozen processes, as is_settled() saw them.
  [[nodiscard]] const std::vector<Block>& blocks() const;
  // Lets threads in sigsuspend and pause of those that have a block but do not take part return.
  Result<void> end_signal_waits(trace::Freeze& freeze) const;

  // Step 7, while all are frozen: CONTINUE (OMITTED to the omitted). The caller thaws.
  Result<void> tell_success();
  // Step 8: waits until all have left the checkpoint (or died); the value is what a callback
  // returned, 0 if all went well.
  Result<int> await_idle();
  // Ends a request that failed, with its error's code; nobody is frozen any more. Waits a while for
  // all to leave.
  void abort(int code);

  class State;

 private:
  explicit Handshake(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// --- After a restart ---

// A process whose threads have found the verdict "restart".
struct Restarted {
  Pid pid = 0;
  RemoteAddr block;
  int memory = -1;    // /proc/PID/mem
  bool gone = false;  // it ended, or became another program, before its callbacks had returned
};
// Waits until all have left libcr or are gone; needs no tracing. The value is what the first
// callback returned that failed, 0 if all went well.
Result<int> await_restarted(std::span<Restarted> processes, const Terms& terms);

}  // namespace stasis::notify
