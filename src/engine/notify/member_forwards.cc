// A member's calls of cr_forward_checkpoint(), which wait in libcr for their answers.
#include "notify/member.h"
#include "proc/status.h"

namespace stasis::notify {

void Member::note_forwards(const BlockHead& head) {
  const u32 count = head.fields.forwards;
  if (count - forwards_seen_ > CRI_MAX_FORWARDS) forwards_seen_ = count;  // not libcr's number
  while (forwards_seen_ != count) {
    const auto& forward = head.fields.forward[forwards_seen_++ % CRI_MAX_FORWARDS];
    const Pid target = visible_ ? forward.target : outer_id(forward.target, thread());
    forwards_.push_back({.scope = static_cast<u32>(forward.scope), .target = target, .by = pid()});
  }
}

// In front of the request: from when on calls are answered.
Result<void> Member::offer_answers(const Request& request, const BlockHead& head) {
  answers_ = has_answers(head);
  if (!answers_) return {};
  TRY(write_field(thread(), block_.address, offsetof(cri_block, forward_answered), u32{0}));
  return write_field(thread(), block_.address, offsetof(cri_block, forward_request),
                     request.number);
}

std::optional<Forward> Member::next_forward() {
  if (forwards_.empty()) return std::nullopt;
  const Forward forward = forwards_.front();
  forwards_.pop_front();
  return forward;
}

bool Member::answer_forward(int code) {
  if (!answers_) return false;
  ++forwards_answered_;
  // In this order. It fails only if nobody is there any more, which the next look tells.
  (void)write_field(thread(), block_.address, offsetof(cri_block, forward_error), i32{code});
  (void)write_field(thread(), block_.address, offsetof(cri_block, forward_answered),
                    forwards_answered_);
  return true;
}

}  // namespace stasis::notify
