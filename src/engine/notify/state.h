// One request with all its members. Internal to notify/: what Handshake owns.
#pragma once

#include <map>
#include <span>
#include <vector>

#include "notify/member.h"
#include "notify/notify.h"

namespace stasis::notify {

class Handshake::State {
 public:
  State(Announcement announcement, Terms terms);
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State();

  Result<void> add(std::span<const Pid> pids);
  Result<void> settle();
  Result<bool> is_settled(trace::Freeze& freeze);
  Result<void> tell_success();
  Result<int> await_idle();
  void abort(int code);
  [[nodiscard]] const Member* find(Pid pid) const;
  [[nodiscard]] const std::vector<Member>& members() const { return members_; }
  [[nodiscard]] const std::vector<Block>& blocks() const { return blocks_; }

 private:
  Result<void> join(const std::vector<Block>& blocks);
  Result<bool> round();
  Result<void> decide_forwards();
  Result<void> note_pids(std::span<const Pid> pids);
  Error give_up(Error error);
  [[nodiscard]] Error too_late();
  bool all_have_left(int& failed);
  void kill_all();
  [[nodiscard]] bool cancelled() const { return terms_.cancelled && terms_.cancelled(); }

  Terms terms_;
  Request request_;
  std::map<Pid, UniqueFd> processes_;  // of the whole request, by pidfds
  std::vector<Member> members_;        // those of them that take part, or did
  std::vector<Block> blocks_;
};

}  // namespace stasis::notify
