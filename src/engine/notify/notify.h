// The engine's side of the handshake with libcr (docs/handshake.md): finds control blocks, lets
// callbacks run and threads park before a freeze, and tells them afterwards how it went.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/types.h"
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

// A control block, as found in a living process.
struct Block {
  Pid pid = 0;
  RemoteAddr address;
  u32 kind = 0;       // enum cri_kind
  u32 omit_rule = 0;  // enum cri_omit_rule
  bool takes_part = false;
};

// The blocks of those of `pids` that have one. Touches nothing (process_vm_readv of candidates).
Result<std::vector<Block>> find_blocks(std::span<const Pid> pids);

// Locks processes against other requests (flock on /proc/PID, gone with us): EBUSY names the one
// that is in another checkpoint already.
class Claim {
 public:
  static Result<Claim> take(std::span<const Pid> pids);
  Result<void> add(Pid pid);
  Claim(Claim&&) noexcept = default;
  Claim& operator=(Claim&&) noexcept = default;

 private:
  Claim() = default;
  std::vector<UniqueFd> locks_;
  std::vector<Pid> pids_;
};

// How one request goes on with all processes that take part. Its destructor aborts what nobody has
// told a verdict (CR_ETEMPFAIL), so that nothing stays parked.
class Handshake {
 public:
  // Steps 2 to 5 for those of `pids` that take part. `left_ms` tells the time left (negative: no
  // limit). Errors: EBUSY, CR_ETEMPFAIL, CR_EPERMFAIL (or the user's code; after PERM all are
  // killed), ETIMEDOUT with the threads that did not park; everybody has been told.
  static Result<Handshake> gather(std::span<const Pid> pids, const Announcement& announcement,
                                  std::function<i64()> left_ms);
  Handshake(Handshake&&) noexcept;
  Handshake& operator=(Handshake&&) noexcept;
  ~Handshake();

  [[nodiscard]] bool anybody() const;              // whether any process takes part
  [[nodiscard]] std::vector<Pid> omitted() const;  // left themselves out
  struct Forward {
    u32 scope = 0;
    Pid target = 0;
  };
  [[nodiscard]] std::vector<Forward> forwards() const;  // cr_forward_checkpoint() calls, once each
  // Adds processes (of forwards, or that appeared): gathers those of them that take part.
  Result<void> add(std::span<const Pid> pids);

  // Step 6: whether every thread of those that take part is parked, and nobody else takes part. If
  // not: thaw, settle() again, freeze again.
  Result<bool> is_settled(trace::Freeze& freeze);
  Result<void> settle();

  // Step 7, while frozen: the caller thaws afterwards. `code` 0: CONTINUE (OMITTED to the omitted).
  Result<void> tell(trace::Freeze& freeze, int code);
  // Step 8: waits until all have left the checkpoint (or died); the value is what a callback
  // returned, 0 if all went well.
  Result<int> await_idle();

  class State;

 private:
  explicit Handshake(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace stasis::notify
