// Looking into scripts: which calls they make, with which numbers. For tests of what builds them.
#pragma once

#include <string>
#include <vector>

#include "trace/script.h"

namespace stasis::restart {

// The calls of a script with this number, in order.
std::vector<trace::Script::Call> calls_of(const trace::Script& script, i64 number);
// An argument that is a plain number; ~0 when it is none.
u64 number_at(const trace::Script::Call& call, size_t index);
// Bytes that an argument points to.
Bytes data_at(const trace::Script& script, const trace::Script::Call& call, size_t index,
              size_t size);
template <class T>
T object_at(const trace::Script& script, const trace::Script::Call& call, size_t index) {
  T value;
  const Bytes bytes = data_at(script, call, index, sizeof value);
  __builtin_memcpy(&value, bytes.data(), sizeof value);
  return value;
}

}  // namespace stasis::restart
