// Exceptions to Errors, and memory for the way out.
#include "base/guard.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <exception>
#include <new>
#include <stdexcept>
#include <string>
#include <system_error>

#include "base/types.h"

namespace stasis {
namespace {

constexpr size_t kReserve = size_t{1} << 20;  // large enough that malloc maps it by itself
constexpr size_t kStack = size_t{512} << 10;

std::atomic<void*> reserve = nullptr;  // a new_handler can be told in no other way

// The allocation at hand fails all the same: what follows is the way out.
void give_back_reserve() {
  std::free(reserve.exchange(nullptr));
  throw std::bad_alloc();
}

// Of the stack, what may be had: with a small limit half of that.
size_t stack_to_touch() {
  rlimit limit = {};
  if (::getrlimit(RLIMIT_STACK, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return kStack;
  return std::min<size_t>(kStack, limit.rlim_cur / 2);
}

// On one page of the stack after the other.
[[gnu::noinline]] void touch_stack(size_t size) {
  auto* const room = static_cast<volatile char*>(__builtin_alloca(size));
  for (size_t at = size; at > kPageSize; at -= kPageSize) room[at - 1] = 0;
}

std::string memory_hint() {
  rlimit limit = {};
  if (::getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
    return fmt::format("raise the limit on memory, which is {} KiB (ulimit -v)",
                       limit.rlim_cur >> 10);
  }
  return "free some memory, or add swap space";
}

Error out_of_memory(std::string_view what) {
  return fail(ENOMEM, fmt::format("cannot {}: out of memory", what), memory_hint());
}

Error describe(std::string_view what) {
  try {
    throw;
  } catch (const std::bad_alloc&) {
    return out_of_memory(what);
  } catch (const std::length_error&) {
    return out_of_memory(what);  // larger than any memory
  } catch (const std::system_error& error) {
    const int code = error.code().value();
    return fail(code == 0 ? EAGAIN : code, fmt::format("cannot {}: {}", what, error.what()));
  } catch (const std::exception& error) {
    return fail(kPermFail, fmt::format("cannot {}: {}", what, error.what()),
                "this is a mistake in Stasis; please report it");
  } catch (...) {
    return fail(kPermFail, fmt::format("cannot {}", what));
  }
}

}  // namespace

Error caught_exception(std::string_view what) noexcept {
  try {
    return describe(what);
  } catch (...) {
    Error error;
    error.code = ENOMEM;
    error.what = "out of memory";  // short enough to need none
    return error;
  }
}

Result<void> prepare_for_little_memory() {
  // Whether there is room for the stack has to be asked first: growing it asks nobody.
  void* room = std::malloc(kStack + kReserve);
  if (room == nullptr) return fail(ENOMEM, "out of memory");
  std::free(room);
  touch_stack(stack_to_touch());
  reserve = std::malloc(kReserve);
  std::set_new_handler(give_back_reserve);
  return {};
}

}  // namespace stasis
