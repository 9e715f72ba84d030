// What cr_helper answers to the libcr that started it (include/stasis/request.h). A requester that
// is gone does not matter: the work goes on, and the answers get lost.
#pragma once

#include <atomic>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/types.h"
#include "base/unique_fd.h"

namespace stasis::cli {

// Lines as programs read them in a log: each with its newline, none empty.
std::string log_lines(std::string_view text);
std::string log_lines(const std::vector<std::string>& notes);
// An error's message and what can be done about it.
std::string log_lines(const Error& error);

// The errno value that tells `code` to a program. A wrong option is a bad argument; EAGAIN is what
// cr_reap_*() says when nothing is done yet.
int reply_code(int code);

class HelperReply {
 public:
  explicit HelperReply(UniqueFd pipe) : pipe_(std::move(pipe)) {}

  // A child that the requester has got. Not with others at the same time.
  void made(Pid child);
  // At most once each, and nothing after done(); what comes too often or too late is dropped. May
  // be called by several threads.
  void accepted(bool includes_requester);
  void done(Pid value, std::string_view log);
  void failed(const Error& error, std::string_view log = {});

 private:
  void send(u32 type, int error, int value, std::string_view log);

  UniqueFd pipe_;
  std::vector<Pid> children_;
  std::atomic<bool> accepted_ = false, done_ = false;
};

}  // namespace stasis::cli
