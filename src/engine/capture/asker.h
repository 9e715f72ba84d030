// Asker: the questions of capture/inside.h and capture/choices.h as calls, with what the target
// answers in the error's words.
#pragma once

#include <fmt/format.h>
#include <sys/syscall.h>

#include <initializer_list>
#include <string_view>

#include "base/result.h"
#include "base/sys.h"
#include "trace/freeze.h"
#include "trace/remote_call.h"

namespace stasis::capture {

class Asker {
 public:
  Asker(trace::FrozenProcess& process, trace::RemoteCalls& calls)
      : process_(process), calls_(calls) {}

  // The kernel's raw answer: a negative errno is one, too.
  Result<i64> raw(i64 number, std::initializer_list<u64> args) { return calls_.call(number, args); }
  // A call that must succeed.
  Result<i64> value(std::string_view what, i64 number, std::initializer_list<u64> args) {
    const i64 result = TRY(calls_.call(number, args));
    if (result >= 0) return result;
    return sys::error_of(static_cast<int>(-result), "ask",
                         fmt::format("process {} for {}", process_.pid, what));
  }
  // A call that fills a structure in the scratch area.
  template <class T>
  Result<T> object(std::string_view what, i64 number, std::initializer_list<u64> args) {
    (void)TRY(value(what, number, args));
    return TRY(in_scratch<T>());
  }
  template <class T>
  Result<T> in_scratch(u64 offset = 0) {
    return TRY(process_.memory.read_object<T>(calls_.scratch() + offset));
  }
  // prctl(2) queries that answer in the return value; 0 where the kernel does not know the option.
  Result<i64> prctl(int option, u64 argument = 0) {
    const i64 result = TRY(calls_.call(SYS_prctl, {static_cast<u64>(option), argument, 0, 0, 0}));
    return result < 0 ? 0 : result;
  }
  [[nodiscard]] u64 scratch() const { return calls_.scratch().value; }
  [[nodiscard]] const trace::FrozenProcess& process() const { return process_; }

 private:
  trace::FrozenProcess& process_;
  trace::RemoteCalls& calls_;
};

}  // namespace stasis::capture
