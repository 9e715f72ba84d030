// From the freeze on: what is saved of the processes, the file, and how everybody goes on.
#include <fmt/format.h>
#include <signal.h>
#include <stasis/handshake.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>

#include "base/sys.h"
#include "capture/buffered_pages.h"
#include "capture/other_writers.h"
#include "engine/attempt.h"
#include "engine/foresee.h"
#include "engine/letting_go.h"
#include "engine/own_file.h"
#include "engine/scope.h"
#include "proc/status.h"

namespace stasis::engine {
namespace {

// Whether the signal ends every process of the image without running any of its code first:
// signal(7). One that is blocked somewhere is taken for one that does not.
bool ends_all(int signal, const model::Image& image) {
  const int number = std::abs(signal);
  constexpr std::array kHarmless = {0,       SIGCHLD, SIGURG,  SIGWINCH, SIGCONT,
                                    SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU};
  if (number == SIGKILL) return true;
  if (std::ranges::find(kHarmless, number) != kHarmless.end()) return false;
  const u64 bit = u64{1} << (number - 1);
  return std::ranges::all_of(image.processes, [&](const model::Process& process) {
    const bool handled = std::ranges::any_of(process.actions, [&](const auto& action) {
      return action.signal == number && action.handler.value != 0;
    });
    return !handled && std::ranges::none_of(process.threads, [&](const model::Thread& thread) {
      return (thread.blocked_signals & bit) != 0;
    });
  });
}

}  // namespace

// Of requests that members have under way.
std::set<u64> Attempt::handles() const {
  std::set<u64> inodes;
  if (!handshake_) return inodes;
  for (const notify::Block& block : handshake_->blocks()) {
    inodes.insert(block.handles.begin(), block.handles.end());
  }
  return inodes;
}

capture::CaptureOptions Attempt::options() const {
  return {.save_executable = request_.save_executable,
          .save_private = request_.save_private,
          .save_shared = request_.save_shared,
          .carry_small = request_.carry_small,
          .request_handles = handles()};
}

// Until everybody who takes part is parked in libcr and nobody else takes part by now.
Result<void> Attempt::freeze() {
  while (true) {
    freeze_ = TRY(trace::Freeze::take([this] { return members_.now(); }, deadline_.left_ms()));
    if (TRY(handshake_->is_settled(*freeze_))) break;
    freeze_.reset();
    auto settled = handshake_->settle();
    if (!settled) return explain_late(std::move(settled).take_error());
    TRY(follow_restarts());
  }
  std::vector<Pid> pids;
  for (const auto& process : freeze_->processes()) pids.push_back(process.pid);
  TRY(claim(pids));  // those that were born meanwhile
  return handshake_->end_signal_waits(*freeze_);
}

// Stubs that want it, and a cr_restart that only waits for its job.
bool Attempt::is_left_out(const notify::Block& block) const {
  if (block.kind == CRI_KIND_OMIT) return true;
  if (block.kind != CRI_KIND_RESTART) return false;
  if (block.omit_rule != CRI_OMIT_MAYBE) return block.omit_rule == CRI_OMIT_ALWAYS;
  const auto stat = proc::read_stat(block.pid);
  return block.pid == request_.target || (stat.ok() && stat->parent == 1);
}

// They stand still with the others, but what is captured is what is left in the freeze's list.
Result<void> Attempt::leave_out() {
  std::set<Pid> omitted;
  for (const Pid pid : handshake_->omitted()) omitted.insert(pid);
  for (const notify::Block& block : handshake_->blocks()) {
    if (is_left_out(block)) omitted.insert(block.pid);
  }
  auto& processes = freeze_->processes();
  for (trace::FrozenProcess& process : processes) {
    if (omitted.contains(process.pid)) {
      aside_.push_back(std::move(process));
      continue;
    }
    saved_.push_back(process.pid);
    process.stopped |= handshake_->was_stopped(process.pid);
  }
  std::erase_if(processes, [&](const auto& process) { return omitted.contains(process.pid); });
  if (processes.empty()) {
    return fail(ESRCH, "all processes have left themselves out of the checkpoint");
  }
  return address_signals();
}

// Those that take part get their signal when they have left libcr, unless it is an early one.
Result<void> Attempt::address_signals() {
  for (const Pid pid : saved_) {
    if (handshake_->anybody()) TRY(job_.add(pid));
    if (request_.signal == 0) continue;
    const bool at_once = request_.signal < 0 || !handshake_->takes_part(pid);
    TRY((at_once ? at_once_ : later_).add(pid));
  }
  return {};
}

Result<void> Attempt::capture() {
  captured_ = TRY(capture::capture(*freeze_, options()));
  captured_->image.origin.scope = static_cast<u32>(request_.scope);
  captured_->image.origin.ended =
      !handshake_->anybody() && ends_all(request_.signal, captured_->image);
  capture::note_other_writers(captured_->image, other_writers_, saved_);
  set_aside(captured_->image, TRY(sys::fstat(destination_->fd())));
  note_control_blocks();
  note_lost_zombies();
  report_.notes.insert(report_.notes.end(), captured_->notes.begin(), captured_->notes.end());
  for (const model::Process& process : captured_->image.processes) {
    report_.pids.push_back(process.pid);
    report_.threads += process.threads.size();
  }
  return {};
}

// An image that could not be restarted here and now is not made without saying so.
Result<void> Attempt::foresee() {
  const std::vector<Refusal> refusals = restart_obstacles(captured_->image, *captured_->pages);
  if (refusals.empty()) return {};
  if (request_.check_restart) {
    return not_restartable(proc::describe(saved_.front()), refusals);
  }
  for (const Refusal& refusal : refusals) {
    report_.notes.push_back(fmt::format("it could not be restarted here and now: {}: {}",
                                        refusal.subject, refusal.reason));
  }
  return {};
}

void Attempt::note_control_blocks() {
  const auto& processes = freeze_->processes();
  for (size_t i = 0; i < processes.size(); ++i) {
    const auto& blocks = handshake_->blocks();
    const auto block = std::ranges::find(blocks, processes[i].pid, &notify::Block::pid);
    if (block == blocks.end()) continue;
    captured_->image.processes[i].control_block = block->address;
    replace_handles(captured_->image, block->handles);
  }
}

void Attempt::note_lost_zombies() {
  for (const Pid pid : members_.lost_zombies()) {
    const auto stat = proc::read_stat(pid);
    if (!stat) continue;
    report_.notes.push_back(fmt::format(
        "process {} has exited and is left out, as its parent {}, which has not waited for it, is "
        "not being saved",
        proc::describe(pid), proc::describe(stat->parent)));
  }
}

// A small program runs on while its image is written; not one that is to be signalled afterwards,
// and not one that waits to be told how it went.
bool Attempt::may_thaw_early() const {
  return !commits_frozen() && capture::may_buffer(capture::content_bytes(captured_->image));
}

bool Attempt::commits_frozen() const {
  return request_.signal != 0 || handshake_->anybody();
}

Writer::KeepGoing Attempt::until_late() const {
  return [this](u64 done, u64 total) {
    return !deadline_.passed() &&
           (!request_.write.progress || request_.write.progress(done, total));
  };
}

Error Attempt::in_time(Error error) const {
  return deadline_.passed() ? deadline_.error() : std::move(error);
}

Result<void> Attempt::write() {
  writer_.emplace(
      TRY(Writer::start(*destination_, captured_->image, *captured_->pages, request_.write)));
  auto written = writer_->written(until_late());
  if (!written) return in_time(std::move(written).take_error());
  report_.written = *written;
  report_.memory_bytes = report_.written.page_bytes;
  return {};
}

Result<void> Attempt::commit() {
  auto committed = writer_->commit(until_late());
  if (!committed) return in_time(std::move(committed).take_error());
  return {};
}

Result<void> Attempt::thaw() {
  auto thawed = freeze_->thaw();
  report_.pause_us = freeze_->pause_us();
  freeze_.reset();
  return thawed;
}

Result<void> Attempt::let_go() {
  if (!freeze_) return {};
  TRY(handshake_->tell_success());
  auto thawed = thaw_with_signal(*freeze_, at_once_, request_.signal);
  report_.pause_us = freeze_->pause_us();
  freeze_.reset();
  return thawed;
}

Result<void> Attempt::finish() {
  if (!handshake_->anybody()) return {};
  const auto left = handshake_->await_idle();
  if (!left && left.error().code == ECANCELED && !later_.empty()) {
    return fail(ECANCELED, "stopped as asked, before the programs got their signal");
  }
  if (!left) {
    report_.notes.push_back("the context file is complete, but " + left.error().what);
  } else if (*left != 0) {
    return end_job(*left);
  }
  return send_signal(later_, request_.signal);
}

// A callback said that its program cannot go on. None of it has since: its threads wait in libcr.
Result<void> Attempt::end_job(int returned) {
  TRY(send_signal(job_, SIGKILL));
  return fail(kPermFail,
              fmt::format("a callback returned {} after the checkpoint: the processes have been "
                          "killed",
                          returned),
              "The context file is complete: they can be restarted from it.");
}

// They run on first; the writer may take its time to end.
void Attempt::give_up(int code) {
  freeze_.reset();
  if (handshake_) handshake_->abort(code);
  writer_.reset();
  captured_.reset();
}

}  // namespace stasis::engine
