// Messages: a head of fixed form, then text.
#include "helper_reply.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/sys.h"
#include "options.h"
#include "stasis/request.h"

namespace stasis::cli {

std::string log_lines(std::string_view text) {
  std::string lines;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    if (end > 0) lines.append(text.substr(0, end)).push_back('\n');
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

std::string log_lines(const std::vector<std::string>& notes) {
  std::string lines;
  for (const std::string& note : notes) lines += log_lines(note);
  return lines;
}

std::string log_lines(const Error& error) {
  return log_lines(error.message()) + log_lines(error.hint);
}

int reply_code(int code) {
  if (code == kUsageError) return EINVAL;
  if (code == EAGAIN) return EBUSY;
  return code > 0 ? code : EIO;
}

// Only so many can be told of; the last one is the one that may be alive.
void HelperReply::made(Pid child) {
  if (children_.size() == CRI_REPLY_CHILDREN) children_.erase(children_.begin());
  children_.push_back(child);
}

void HelperReply::accepted(bool includes_requester) {
  if (done_ || accepted_.exchange(true)) return;
  send(CRI_REPLY_ACCEPTED, 0, includes_requester ? 1 : 0, {});
}

void HelperReply::done(Pid value, std::string_view log) {
  if (!done_.exchange(true)) send(CRI_REPLY_DONE, 0, value, log);
}

void HelperReply::failed(const Error& error, std::string_view log) {
  if (done_.exchange(true)) return;
  send(CRI_REPLY_DONE, reply_code(error.code), 0, std::string(log) + log_lines(error));
}

// One write, so that a short message is in the pipe as a whole or not at all.
void HelperReply::send(u32 type, int error, int value, std::string_view log) {
  cri_reply head = {.magic = CRI_REPLY_MAGIC,
                    .type = type,
                    .error = error,
                    .value = value,
                    .log_length = static_cast<u32>(log.size()),
                    .children = {},
                    .reserved = 0};
  std::ranges::copy(children_, head.children);
  Bytes message(sizeof head + log.size());
  std::memcpy(message.data(), &head, sizeof head);
  std::memcpy(message.data() + sizeof head, log.data(), log.size());
  (void)sys::write_all(pipe_.get(), message);  // nobody left to tell
}

}  // namespace stasis::cli
