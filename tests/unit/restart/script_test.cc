// Scripts: what serialising one gives, and how the stub's answers are read.
#include "trace/script.h"

#include <doctest/doctest.h>
#include <sys/syscall.h>

#include <cerrno>
#include <cstring>

#include "stub/script_abi.h"
#include "stub/stub.h"

namespace stasis::trace {
namespace {

stub::Operation operation_at(const Bytes& bytes, size_t index) {
  stub::Operation operation;
  std::memcpy(&operation, bytes.data() + sizeof(stub::Header) + index * sizeof operation,
              sizeof operation);
  return operation;
}

void answer(Bytes& bytes, size_t index, long result) {
  auto operation = operation_at(bytes, index);
  operation.result = result;
  std::memcpy(bytes.data() + sizeof(stub::Header) + index * sizeof operation, &operation,
              sizeof operation);
}

void set_done(Bytes& bytes, unsigned long done) {
  std::memcpy(bytes.data() + offsetof(stub::Header, done), &done, sizeof done);
}

}  // namespace

TEST_CASE("arguments become values, earlier results and addresses of data") {
  Script script;
  const DataRef path = script.text("/dev/null");
  const size_t opened = script.call("open /dev/null", SYS_open, {path, u64{2}});
  const DataRef byte = script.room(1);
  script.expect("read", 1, SYS_read, {ResultOf{opened}, byte, u64{1}});
  const RemoteAddr base{0x10000};
  const Bytes bytes = script.serialise(base);
  REQUIRE(bytes.size() == script.serialised_size());
  const auto first = operation_at(bytes, 0);
  CHECK(first.number == SYS_open);
  CHECK(first.args[0] == base.value + script.data_offset(path));
  CHECK(std::strcmp(reinterpret_cast<const char*>(bytes.data()) + script.data_offset(path),
                    "/dev/null") == 0);
  CHECK(first.from_result == 0);
  const auto second = operation_at(bytes, 1);
  CHECK(second.from_result == 1);
  CHECK(second.args[0] == opened);
  CHECK(second.args[1] == base.value + script.data_offset(byte));
  CHECK(second.check == stub::kCheckEquals);
  CHECK(second.expected == 1);
}

TEST_CASE("a pointer inside data becomes the address of other data") {
  Script script;
  const DataRef wanted = script.object(i32{77});
  const DataRef arguments = script.room(16);
  script.point(arguments, 8, wanted);
  script.call("clone", SYS_clone3, {arguments});  // moves the data: operations come first
  const RemoteAddr base{0x7000};
  const Bytes bytes = script.serialise(base);
  u64 pointer = 0;
  std::memcpy(&pointer, bytes.data() + script.data_offset(arguments) + 8, sizeof pointer);
  CHECK(pointer == base.value + script.data_offset(wanted));
}

TEST_CASE("data lies aligned to eight bytes") {
  Script script;
  script.text("x");
  CHECK(script.room(3).offset == 8);
  CHECK(script.object(u64{1}).offset == 16);
}

TEST_CASE("a failed operation is named together with the kernel's answer") {
  Script script;
  script.call("map [heap]", SYS_mmap, {});
  script.call("open descriptor 3", SYS_dup2, {});
  Bytes bytes = script.serialise({0});
  answer(bytes, 0, 4096);
  answer(bytes, 1, -EMFILE);
  set_done(bytes, 1);
  auto run = parse_run(script, bytes);
  REQUIRE(run.ok());
  CHECK(run->done == 1);
  const auto outcome = outcome_of(script, *run);
  REQUIRE(!outcome.ok());
  CHECK(outcome.error().code == EMFILE);
  CHECK(outcome.error().message() == "cannot open descriptor 3: Too many open files");
}

TEST_CASE("an unexpected result is told beside the expected one") {
  Script script;
  script.expect("make thread 7", 7, SYS_clone3, {});
  Bytes bytes = script.serialise({0});
  answer(bytes, 0, 9);
  const auto outcome = outcome_of(script, *parse_run(script, bytes));
  REQUIRE(!outcome.ok());
  CHECK(outcome.error().message() == "cannot make thread 7: the kernel answered 9 instead of 7");
}

TEST_CASE("a script that claims more operations than it has is refused") {
  Script script;
  script.call("x", SYS_getpid, {});
  Bytes bytes = script.serialise({0});
  set_done(bytes, 2);
  CHECK(!parse_run(script, bytes).ok());
  bytes.pop_back();
  CHECK(!parse_run(script, bytes).ok());
}

TEST_CASE("the stub is small") {
  CHECK(stub::code().size() > 100);
  CHECK(stub::code().size() < 2048);
}

}  // namespace stasis::trace
