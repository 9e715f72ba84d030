// Scripts: building, serialising and reading back. Pure; running one is restart::Target's business.
#include "trace/script.h"

#include <fmt/format.h>

#include <cstring>

#include "stub/script_abi.h"

namespace stasis::trace {
namespace {

constexpr u64 align_up(u64 value, u64 alignment) {
  return (value + alignment - 1) / alignment * alignment;
}

u64 data_start(size_t operations) {
  return sizeof(stub::Header) + operations * sizeof(stub::Operation);
}

template <class T>
void put(Bytes& out, u64 offset, const T& value) {
  std::memcpy(out.data() + offset, &value, sizeof value);
}

template <class T>
T get(ByteView bytes, u64 offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

}  // namespace

size_t Script::add(Call call) {
  operations_.push_back(std::move(call));
  return operations_.size() - 1;
}

size_t Script::call(std::string what, i64 number, std::vector<Argument> args) {
  return add({std::move(what), number, std::move(args), stub::kCheckSuccess, 0});
}

size_t Script::expect(std::string what, i64 expected, i64 number, std::vector<Argument> args) {
  return add({std::move(what), number, std::move(args), stub::kCheckEquals, expected});
}

size_t Script::attempt(std::string what, i64 number, std::vector<Argument> args) {
  return add({std::move(what), number, std::move(args), stub::kCheckNone, 0});
}

size_t Script::burn(std::string what, Pid last, u64 limit) {
  return add({std::move(what), stub::kBurn, {limit}, stub::kCheckEquals, last});
}

DataRef Script::data(ByteView bytes) {
  const DataRef reference = room(bytes.size());
  if (!bytes.empty()) std::memcpy(data_.data() + reference.offset, bytes.data(), bytes.size());
  return reference;
}

DataRef Script::text(std::string_view string) {
  const DataRef reference = room(string.size() + 1);
  if (!string.empty()) std::memcpy(data_.data() + reference.offset, string.data(), string.size());
  return reference;
}

DataRef Script::room(u64 length) {
  const DataRef reference{data_.size()};
  data_.resize(align_up(data_.size() + length, 8));
  return reference;
}

void Script::point(DataRef at, u64 offset, DataRef to) {
  pointers_.push_back({at.offset + offset, to});
}

u64 Script::data_offset(DataRef data) const {
  return data_start(operations_.size()) + data.offset;
}

u64 Script::serialised_size() const {
  return data_start(operations_.size()) + data_.size();
}

Bytes Script::serialise(RemoteAddr base) const {
  Bytes out(serialised_size());
  put(out, 0, stub::Header{operations_.size(), 0});
  u64 offset = sizeof(stub::Header);
  for (const Call& call : operations_) {
    stub::Operation operation = {};
    operation.number = call.number;
    operation.check = call.check;
    operation.expected = call.expected;
    for (size_t i = 0; i < call.args.size() && i < std::size(operation.args); ++i) {
      if (const auto* earlier = std::get_if<ResultOf>(&call.args[i])) {
        operation.from_result |= 1U << i;
        operation.args[i] = earlier->operation;
      } else if (const auto* data = std::get_if<DataRef>(&call.args[i])) {
        operation.args[i] = base.value + data_offset(*data);
      } else {
        operation.args[i] = std::get<u64>(call.args[i]);
      }
    }
    put(out, offset, operation);
    offset += sizeof operation;
  }
  if (!data_.empty()) std::memcpy(out.data() + offset, data_.data(), data_.size());
  for (const Pointer& pointer : pointers_) {
    put(out, offset + pointer.at, base.value + data_offset(pointer.to));
  }
  return out;
}

Result<ScriptRun> parse_run(const Script& script, ByteView bytes) {
  if (bytes.size() != script.serialised_size()) {
    return fail(EINVAL, "a script came back with another size than it was sent with");
  }
  ScriptRun run;
  run.done = get<stub::Header>(bytes, 0).done;
  if (run.done > script.size()) {
    return fail(EIO,
                fmt::format("a script of {} operations says that {} ran", script.size(), run.done));
  }
  for (size_t i = 0; i < script.size(); ++i) {
    const u64 offset = sizeof(stub::Header) + i * sizeof(stub::Operation);
    run.results.push_back(get<stub::Operation>(bytes, offset).result);
  }
  const ByteView rest = bytes.subspan(data_start(script.size()));
  run.data.assign(rest.begin(), rest.end());
  return run;
}

Result<ScriptOutcome> outcome_of(const Script& script, ScriptRun run) {
  if (run.done == script.size()) return ScriptOutcome{std::move(run.results), std::move(run.data)};
  const Script::Call& failed = script.operations()[run.done];
  const i64 answer = run.results[run.done];
  if (answer < 0 && answer >= -4095) {
    const int code = static_cast<int>(-answer);
    return fail(code, fmt::format("cannot {}: {}", failed.what, ::strerror(code)));
  }
  return fail(EPROTO, fmt::format("cannot {}: the kernel answered {} instead of {}", failed.what,
                                  answer, failed.expected));
}

}  // namespace stasis::trace
