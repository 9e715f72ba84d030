// Handshake as the engine sees it: questions about the members, and State behind the rest.
#include "notify/notify.h"

#include <algorithm>

#include "notify/state.h"
#include "trace/handler_entry.h"

namespace stasis::notify {

Handshake::Handshake(std::unique_ptr<State> state) : state_(std::move(state)) {}
Handshake::Handshake(Handshake&&) noexcept = default;
Handshake& Handshake::operator=(Handshake&&) noexcept = default;
Handshake::~Handshake() = default;

Result<Handshake> Handshake::gather(std::span<const Pid> pids, const Announcement& announcement,
                                    Terms terms) {
  auto state = std::make_unique<State>(announcement, std::move(terms));
  TRY(state->add(pids));
  return Handshake(std::move(state));
}

bool Handshake::anybody() const {
  const auto& members = state_->members();
  return std::any_of(members.begin(), members.end(),
                     [](const Member& member) { return !member.is_over(); });
}

bool Handshake::takes_part(Pid pid) const {
  const Member* member = state_->find(pid);
  return member != nullptr && member->takes_part();
}

std::vector<Pid> Handshake::omitted() const {
  std::vector<Pid> pids;
  for (const Member& member : state_->members()) {
    if (member.is_omitted()) pids.push_back(member.pid());
  }
  return pids;
}

bool Handshake::was_stopped(Pid pid) const {
  const Member* member = state_->find(pid);
  return member != nullptr && member->was_stopped();
}

Result<void> Handshake::add(std::span<const Pid> pids) {
  return state_->add(pids);
}
Result<bool> Handshake::is_settled(trace::Freeze& freeze) {
  return state_->is_settled(freeze);
}
Result<void> Handshake::settle() {
  return state_->settle();
}
const std::vector<Block>& Handshake::blocks() const {
  return state_->blocks();
}

Result<void> Handshake::end_signal_waits(trace::Freeze& freeze) const {
  for (trace::FrozenProcess& process : freeze.processes()) {
    const bool has_block = std::any_of(blocks().begin(), blocks().end(), [&](const Block& block) {
      return block.pid == process.pid;
    });
    if (!has_block || state_->find(process.pid) != nullptr) continue;
    for (trace::FrozenThread& thread : process.threads) {
      TRY(trace::end_signal_wait(process, thread));
    }
  }
  return {};
}

Result<void> Handshake::tell_success() {
  return state_->tell_success();
}
void Handshake::abort(int code) {
  state_->abort(code);
}
Result<int> Handshake::await_idle() {
  return state_->await_idle();
}

}  // namespace stasis::notify
