// Looks at the blocks of restarted processes through descriptors of their memory: of a program that
// has become another one, or has ended, nothing can be read any more.
#include <algorithm>
#include <cerrno>

#include "base/sys.h"
#include "notify/block.h"
#include "notify/clock.h"
#include "notify/notify.h"

namespace stasis::notify {
namespace {

// Whether its callbacks have returned; `failed` as soon as one has that failed.
bool has_left(Restarted& process, int& failed) {
  BlockHead head;
  const ByteSpan bytes = std::as_writable_bytes(std::span(&head.fields, 1)).first(kHeadLength);
  const auto got = sys::pread_full(process.memory, bytes, process.block.value);
  process.gone = !got || *got != kHeadLength;
  if (process.gone) return true;
  failed = head.fields.failed;
  return head.fields.phase == CRI_PHASE_IDLE;
}

}  // namespace

Result<int> await_restarted(std::span<Restarted> processes, const Terms& terms) {
  constexpr i64 kShortestUs = 200, kLongestUs = 1000;
  i64 pause_us = kShortestUs;
  while (true) {
    bool all = true;
    for (Restarted& process : processes) {
      int failed = 0;
      if (!has_left(process, failed)) all = false;
      if (failed != 0) return failed;
    }
    if (all) return 0;
    if (terms.left_ms && terms.left_ms() == 0) {
      return fail(ETIMEDOUT, "callbacks that run after the restart have not returned yet");
    }
    if (terms.cancelled && terms.cancelled()) return fail(ECANCELED, "stopped as asked");
    sleep_us(pause_us);
    pause_us = std::min(kLongestUs, pause_us + pause_us / 4);
  }
}

}  // namespace stasis::notify
