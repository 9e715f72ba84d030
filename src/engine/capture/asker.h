// Asker: questions to the target itself, one insured call each (trace/remote_call.h), with the
// process's name in the errors.
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
    return TRY(process_.memory.read_object<T>(calls_.scratch()));
  }
  // prctl(2) queries that answer in the return value; 0 where the kernel does not know the option.
  Result<i64> prctl(int option) {
    const i64 result = TRY(calls_.call(SYS_prctl, {static_cast<u64>(option), 0, 0, 0, 0}));
    return result < 0 ? 0 : result;
  }
  [[nodiscard]] u64 scratch() const { return calls_.scratch().value; }

 private:
  trace::FrozenProcess& process_;
  trace::RemoteCalls& calls_;
};

}  // namespace stasis::capture
