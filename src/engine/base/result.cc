// How an Error reads.
#include "base/result.h"

#include <cerrno>

namespace stasis {

std::string Error::message() const {
  std::string text;
  for (auto context = contexts.rbegin(); context != contexts.rend(); ++context) {
    text += *context + ": ";
  }
  return text + what;
}

Error fail(int code, std::string what, std::string hint) {
  return Error{.code = code, .what = std::move(what), .contexts = {}, .hint = std::move(hint)};
}

Error refused(std::string_view headline, const std::vector<Refusal>& refusals) {
  std::string text(headline);
  for (const Refusal& refusal : refusals) {
    text += "\n  " + refusal.subject + ": " + refusal.reason;
    if (!refusal.advice.empty()) text += "\n    " + refusal.advice;
  }
  const int code = refusals.empty() ? 0 : refusals.front().code;
  return fail(code != 0 ? code : EOPNOTSUPP, std::move(text));
}

}  // namespace stasis
