// Where exceptions end. Nothing of ours throws, but what we use does: the standard library when
// memory is short (bad_alloc), fmt, nlohmann_json, std::thread. The entries of the engine and every
// thread's work go through guarded(), so that "nothing throws across rooms" holds for those, too.
#pragma once

#include <string_view>

#include "base/result.h"

namespace stasis {

// For a catch block: the exception at hand as an Error "cannot WHAT: out of memory" (ENOMEM), with
// a hint that names the limit where there is one, or with the exception's own words. Throws
// nothing: with no memory even for that, the Error is shorter.
[[nodiscard]] Error caught_exception(std::string_view what) noexcept;

// work()'s Result; what it throws becomes an Error. `what` reads behind "cannot".
template <class Work>
auto guarded(std::string_view what, Work work) -> decltype(work()) {
  try {
    return work();
  } catch (...) {
    return caught_exception(what);
  }
}

// Sets some memory aside that is given back when there is no other for the first time, so that
// destructors and messages have what they need on the way out; and makes the stack as large as the
// engine needs it, since a stack that cannot grow is a crash. ENOMEM if that much is not there.
// Once, at the start of a program.
Result<void> prepare_for_little_memory();

}  // namespace stasis
