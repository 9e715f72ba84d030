// Reads the scripts' own lists; data comes from their serialised form.
#include "script_reader.h"

#include <doctest/doctest.h>

namespace stasis::restart {

std::vector<trace::Script::Call> calls_of(const trace::Script& script, i64 number) {
  std::vector<trace::Script::Call> calls;
  for (const auto& call : script.operations()) {
    if (call.number == number) calls.push_back(call);
  }
  return calls;
}

u64 number_at(const trace::Script::Call& call, size_t index) {
  if (index >= call.args.size()) return ~u64{0};
  const auto* number = std::get_if<u64>(&call.args[index]);
  return number == nullptr ? ~u64{0} : *number;
}

Bytes data_at(const trace::Script& script, const trace::Script::Call& call, size_t index,
              size_t size) {
  const auto* data = std::get_if<trace::DataRef>(&call.args.at(index));
  REQUIRE(data != nullptr);
  const Bytes all = script.serialise({0});
  const auto start = all.begin() + static_cast<i64>(script.data_offset(*data));
  REQUIRE(all.end() - start >= static_cast<i64>(size));
  return {start, start + static_cast<i64>(size)};
}

}  // namespace stasis::restart
