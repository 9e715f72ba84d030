// Passing over ids quickly. An id is taken early in clone3(2): a call that fails after that moves
// the kernel's counter on and leaves nothing behind. Where that cannot be had (clone3 is filtered),
// threads of ours that exit at once do the same, at a third of the speed.
#pragma once

#include "base/result.h"
#include "base/types.h"

namespace stasis::restart {

// The id that was given out last in our pid namespace, and the first one that is never given out.
Result<Pid> last_id();
Result<Pid> id_limit();

// A thread of ours that has gone again when this returns; the answer is the id that it had.
Result<Pid> burn_one();

class IdBurner {
 public:
  // Finds out which way works; takes a few dozen ids. `most` processors, ours, are used.
  static Result<IdBurner> probe(unsigned most = kMostThreads);

  // Takes exactly `count` ids (other programs may take some at the same time), on all processors
  // where that is worth it. EAGAIN: the limit of processes is reached.
  Result<void> burn(u64 count);

  // Ids a second that burn() makes, from calls so far; 0: not known yet.
  [[nodiscard]] double rate() const;

 private:
  // The kernel's lock on ids is shared: more threads gain nothing.
  static constexpr unsigned kMostThreads = 16;

  explicit IdBurner(unsigned threads) : threads_(threads) {}

  unsigned threads_;
  bool by_failing_calls_ = true;
  u64 burnt_ = 0;
  i64 spent_ns_ = 0;
};

}  // namespace stasis::restart
