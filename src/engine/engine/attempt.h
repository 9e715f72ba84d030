// One checkpoint under way: what its passes (checkpoint.cc) hand to each other. If it is given up
// at any of them, everybody runs on and no file remains.
#pragma once

#include <optional>
#include <set>
#include <vector>

#include "base/result.h"
#include "capture/capture.h"
#include "engine/deadline.h"
#include "engine/engine.h"
#include "engine/letting_go.h"
#include "engine/members.h"
#include "engine/writer.h"
#include "format/destination.h"
#include "notify/notify.h"
#include "resource/writers.h"
#include "trace/freeze.h"

namespace stasis::engine {

class Attempt {
 public:
  explicit Attempt(CheckpointRequest request)
      : request_(std::move(request)),
        deadline_(request_.time_limit_ms),
        members_(request_.target, request_.scope) {}
  Result<CheckpointReport> run();

 private:
  // prepare(): attempt_prepare.cc
  Result<void> prepare();
  Result<void> claim_members();
  Result<void> claim_members(Members& members, const Deadline& deadline);
  Result<void> check_request(const Members& whom) const;
  Result<void> check_libcr(const Members& whom) const;
  Result<void> survey();
  void note_outsiders(const std::vector<Pid>& members);
  Result<void> open_destination();
  Result<void> gather();
  Result<void> follow_restarts();
  static Result<bool> add_jobs(Members& members);
  Result<void> claim(const std::vector<Pid>& pids);
  [[nodiscard]] bool somebody_takes_part() const;
  [[nodiscard]] notify::Announcement announcement() const;
  Error explain_late(Error error);

  // attempt_forward.cc
  Result<std::vector<Pid>> take_in(const notify::Forward& forward);
  Result<std::vector<Pid>> widen(const notify::Forward& forward);
  Result<void> check_wider(const std::vector<Pid>& wider, const std::vector<Pid>& added);

  // save() and after: attempt_save.cc
  Result<void> save();
  Result<void> freeze();
  Result<void> leave_out();
  Result<void> address_signals();
  Result<void> capture();
  Result<void> foresee();
  Result<void> write();
  Result<void> commit();
  Result<void> thaw();
  Result<void> let_go();
  Result<void> finish();
  void note_control_blocks();
  void note_lost_zombies();
  Result<void> end_job(int returned);
  void give_up(int code);
  [[nodiscard]] bool is_left_out(const notify::Block& block) const;
  [[nodiscard]] bool may_thaw_early() const;
  [[nodiscard]] bool commits_frozen() const;
  [[nodiscard]] bool cancelled() const;
  [[nodiscard]] Writer::KeepGoing until_late() const;
  Error in_time(Error error) const;
  [[nodiscard]] capture::CaptureOptions options() const;
  [[nodiscard]] std::set<u64> handles() const;

  CheckpointRequest request_;
  Deadline deadline_;
  CheckpointReport report_;
  Members members_;
  std::optional<notify::Claim> claim_;
  std::optional<format::Destination> destination_;
  std::vector<notify::LateThread> late_;
  // In this order: a freeze has to end before its handshake, which lets go who waits in libcr.
  std::optional<notify::Handshake> handshake_;
  std::optional<trace::Freeze> freeze_;
  std::vector<trace::FrozenProcess> aside_;  // frozen, but not saved
  std::optional<capture::Captured> captured_;
  std::optional<Writer> writer_;  // ends before what it uses
  Addressees at_once_, later_;    // get their signal when they have left libcr
  Addressees job_;                // all, where a callback may yet end it
  resource::Writers other_writers_;
  std::vector<Pid> saved_;  // pids of the image, as we know them
};

}  // namespace stasis::engine
