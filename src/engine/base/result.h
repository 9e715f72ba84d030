// Result<T>: what every function that can fail returns. An Error is data: a code, the sentence of
// the layer that met it, one context per layer above, and what the user can do about it.
// TRY(expr) propagates. Nothing throws across a room.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace stasis {

// Errors of BLCR that are not errno values (blcr_errcodes.h names them for programs).
inline constexpr int kTempFail = 2354;
inline constexpr int kPermFail = 2355;
inline constexpr int kNoSupport = 2356;
inline constexpr int kBadArch = 2359;
inline constexpr int kPtraced = 2360;
inline constexpr int kRestartAborted = 2362;

struct Error {
  int code = 0;                       // an errno value or one of the codes above; never 0
  std::string what;                   // what was tried, on which thing, and the answer
  std::vector<std::string> contexts;  // added by outer layers, innermost first
  std::string hint;                   // what the user can do; may be empty

  // One line: "outer: inner: what". The hint is not part of it.
  [[nodiscard]] std::string message() const;
};

// An error of our own making: `code` is the errno that describes it best.
[[nodiscard]] Error fail(int code, std::string what, std::string hint = {});

template <class T = void>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}      // NOLINT: implicit
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT: implicit

  [[nodiscard]] bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }

  T& value() { return std::get<0>(state_); }
  const T& value() const { return std::get<0>(state_); }
  T& operator*() { return value(); }
  const T& operator*() const { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  T take_value() && { return std::move(std::get<0>(state_)); }

  const Error& error() const { return std::get<1>(state_); }
  Error take_error() && { return std::move(std::get<1>(state_)); }

  // The same result; if it is an error, with what the calling layer knows added.
  Result context(std::string text) && {
    if (!ok()) std::get<1>(state_).contexts.push_back(std::move(text));
    return std::move(*this);
  }

 private:
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}  // NOLINT: implicit

  [[nodiscard]] bool ok() const { return !error_; }
  explicit operator bool() const { return ok(); }
  void take_value() && {}
  const Error& error() const { return *error_; }
  Error take_error() && { return std::move(*error_); }
  Result context(std::string text) && {
    if (error_) error_->contexts.push_back(std::move(text));
    return std::move(*this);
  }

 private:
  std::optional<Error> error_;
};

// A state that cannot be saved or rebuilt, named for the user. All are collected before anything
// is touched and told at once.
struct Refusal {
  std::string subject;  // "descriptor 5 of process 4711 (socket:[8123])"
  std::string reason;   // "sockets cannot be saved yet"
  std::string advice;   // the option or act that would let the user go on; may be empty
  int code = 0;         // the errno that says it best; 0: EOPNOTSUPP

  bool operator==(const Refusal&) const = default;
};

// All refusals as one Error: `headline`, then a line for each, with its advice. The code is that of
// the first.
[[nodiscard]] Error refused(std::string_view headline, const std::vector<Refusal>& refusals);

}  // namespace stasis

#define STASIS_CONCAT2(a, b) a##b
#define STASIS_CONCAT(a, b) STASIS_CONCAT2(a, b)
#define STASIS_TRY(name, ...)                            \
  __extension__({                                        \
    auto name = (__VA_ARGS__);                           \
    if (!name.ok()) return std::move(name).take_error(); \
    std::move(name).take_value();                        \
  })

// The value of a Result, or return its error from this function.
#define TRY(...) STASIS_TRY(STASIS_CONCAT(try_result_, __COUNTER__), __VA_ARGS__)
