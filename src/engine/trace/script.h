// Script: system calls for a process that is being built (never for a living target). Building one
// is pure; serialised it is data that the stub runs in one go and one stop.
#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/result.h"
#include "base/types.h"

namespace stasis::trace {

// The result of an earlier operation of the same script.
struct ResultOf {
  size_t operation = 0;
};
// Bytes that travel with the script; the argument becomes their address in the target.
struct DataRef {
  u64 offset = 0;
};
using Argument = std::variant<u64, ResultOf, DataRef>;

class Script {
 public:
  // Appends a call that must succeed; returns its index. `what` names it in errors:
  // "map [heap]", "open descriptor 3".
  size_t call(std::string what, i64 number, std::vector<Argument> args);
  // ... whose result must be `expected`.
  size_t expect(std::string what, i64 expected, i64 number, std::vector<Argument> args);
  // ... whose result does not matter.
  size_t attempt(std::string what, i64 number, std::vector<Argument> args);
  // Makes threads that exit at once until one had the id `last` (gone again then): the next id is
  // the one after it. Fails after `limit` of them.
  size_t burn(std::string what, Pid last, u64 limit);
  // Bytes for arguments to point to (8-aligned); may be written by the kernel.
  DataRef data(ByteView bytes);
  DataRef text(std::string_view string);  // with its NUL
  DataRef room(u64 length);               // zeros
  // Makes the eight bytes at `at` + `offset` the address of `to` (a pointer inside a structure).
  void point(DataRef at, u64 offset, DataRef to);
  template <class T>
  DataRef object(const T& value) {
    return data(std::as_bytes(std::span(&value, 1)));
  }

  [[nodiscard]] bool empty() const { return operations_.empty(); }
  [[nodiscard]] size_t size() const { return operations_.size(); }
  // Header, operations and data as they must lie at `base`.
  [[nodiscard]] Bytes serialise(RemoteAddr base) const;
  [[nodiscard]] u64 serialised_size() const;
  // Where operation results / a DataRef lie relative to base.
  [[nodiscard]] u64 data_offset(DataRef data) const;

  struct Call {
    std::string what;
    i64 number = 0;
    std::vector<Argument> args;
    u32 check = 0;
    i64 expected = 0;
  };
  [[nodiscard]] const std::vector<Call>& operations() const { return operations_; }

 private:
  size_t add(Call call);
  struct Pointer {
    u64 at = 0;  // both: offsets in the data
    DataRef to;
  };
  std::vector<Call> operations_;
  Bytes data_;
  std::vector<Pointer> pointers_;
};

// What a run gave: a result per operation, and the data area as the kernel left it.
struct ScriptOutcome {
  std::vector<i64> results;
  Bytes data;
};

// The same, whether or not all operations ran: `done` did; results[done] is the failed one's.
struct ScriptRun {
  size_t done = 0;
  std::vector<i64> results;
  Bytes data;
};

// Reads what the stub left of a serialised script.
Result<ScriptRun> parse_run(const Script& script, ByteView bytes);
// An Error naming the operation that failed, and the kernel's answer.
Result<ScriptOutcome> outcome_of(const Script& script, ScriptRun run);

}  // namespace stasis::trace
