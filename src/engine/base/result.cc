// How an Error reads.
#include "base/result.h"

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

}  // namespace stasis
