// One process that takes part in a handshake, and how far it has come. Internal to notify/.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "notify/block.h"
#include "notify/notify.h"
#include "proc/maps.h"
#include "trace/freeze.h"

namespace stasis::notify {

// What one request writes into every block.
struct Request {
  Announcement announcement;
  u64 number = 0;  // that no earlier request had
  Pid engine = 0;
  u64 engine_start = 0;
};

// Within the request's time limit, and in any case at some time.
i64 freeze_limit(i64 left_ms);

class Member {
 public:
  Member(const Block& block, UniqueFd pidfd) : block_(block), pidfd_(std::move(pidfd)) {}

  // One step forward, without waiting for the process. An error is EBUSY, a refusal by a callback,
  // or what keeps us from going on.
  Result<void> advance(const Request& request, i64 left_ms);
  // Nothing is to be waited for: all threads are parked, or it stands aside, or it is gone.
  [[nodiscard]] bool is_settled() const { return stage_ == Stage::kParked || !takes_part(); }
  // Looks again at a process that had parked.
  void unsettle();
  // The same for a frozen process, by its registers.
  [[nodiscard]] bool is_parked(const trace::FrozenProcess& process, const Request& request);

  [[nodiscard]] Pid pid() const { return block_.pid; }
  [[nodiscard]] bool takes_part() const { return !is_over() && !omitted_; }
  [[nodiscard]] bool is_over() const { return stage_ == Stage::kGone || stage_ == Stage::kAside; }
  [[nodiscard]] bool is_omitted() const { return omitted_ && !is_over(); }
  // Whether its refusal is one after which everything is killed.
  [[nodiscard]] bool is_permanent() const { return permanent_; }
  [[nodiscard]] bool was_stopped() const { return stopped_; }
  // The next call of cr_forward_checkpoint() that waits for an answer, and its answer: 0 or an
  // error's code. False: the caller does not wait for it (a libcr of an older build).
  std::optional<Forward> next_forward();
  bool answer_forward(int code);
  [[nodiscard]] std::vector<LateThread> late() const;
  // Whether it could not begin because of an earlier checkpoint.
  [[nodiscard]] bool is_busy() const { return stage_ == Stage::kNew && busy_; }
  [[nodiscard]] Error busy_error() const;

  // Step 7. tell() is for a frozen process; tell_running() also makes its threads look.
  Result<void> tell(int code);
  void tell_running(int code);
  // In front of tell(): it is going to get a signal instead of being stopped again.
  Result<void> keep_running() { return stopped_ && begun_ ? write_stop(false) : Result<void>(); }
  [[nodiscard]] bool is_waiting_for_us() const { return begun_ && !told_ && !is_over(); }
  // Step 8: whether it has left the checkpoint, or is gone. `failed`: what a callback returned.
  bool has_left(const Request& request, int& failed);

 private:
  enum class Stage {
    kNew,
    kRequested,  // THREAD callbacks run
    kSent,       // all threads have been sent into libcr
    kParked,
    kAside,  // does not take part after all
    kGone,   // has exited, or is another program by now
  };

  Result<BlockHead> look(const Request& request);
  Result<trace::Freeze> freeze(i64 left_ms) const;
  Result<void> begin(const Request& request, i64 left_ms);
  Result<bool> begin_standing(const Request& request, trace::FrozenProcess* process);
  [[nodiscard]] Pid callback_thread(const BlockHead& head) const;
  Result<bool> check_idle(const BlockHead& head);
  void free_stopped();
  Result<void> write_request(const Request& request);
  Result<void> write_stop(bool stop);
  Result<void> send(const Request& request, i64 left_ms);
  Result<void> send_threads(trace::FrozenProcess& process, const BlockHead& head);
  Result<bool> send_thread(trace::FrozenProcess& process, trace::FrozenThread& thread,
                           const BlockHead& head, std::span<const proc::Area> areas);
  Result<void> heed_answer(const BlockHead& head);
  void note_forwards(const BlockHead& head);
  Result<void> offer_answers(const Request& request, const BlockHead& head);
  void wake_if_stopped();
  void beat();
  [[nodiscard]] RemoteAddr verdict() const;
  [[nodiscard]] bool waits_for_verdict(Pid tid) const;
  // Looks at all threads; true when all are parked. Some may be new: `unsent`.
  bool all_parked(bool& unsent);
  [[nodiscard]] Pid thread() const;  // any that lives
  [[nodiscard]] bool has_exited() const;

  Block block_;
  UniqueFd pidfd_;
  Stage stage_ = Stage::kNew;
  bool busy_ = false, busy_told_ = false, begun_ = false, told_ = false, omitted_ = false;
  bool permanent_ = false;
  bool stopped_ = false;
  u32 stop_number_ = 0;
  bool visible_ = true;     // we are, to it
  bool signalled_ = false;  // CRI_PHASE_SIGNALS has been written
  std::set<Pid> sent_;
  std::map<Pid, i64> deferred_ns_;  // since when a thread could not be sent yet
  i64 next_beat_ns_ = 0, next_send_ns_ = 0, next_stop_look_ns_ = 0, busy_since_ns_ = 0;
  Pid callback_thread_ = 0;
  std::deque<Forward> forwards_;  // not yet looked at
  u32 forwards_seen_ = 0, forwards_answered_ = 0;
  bool answers_ = false;  // it waits for answers
};

}  // namespace stasis::notify
