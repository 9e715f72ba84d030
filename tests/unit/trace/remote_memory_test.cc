// trace/remote_memory, on this very process.
#include "trace/remote_memory.h"

#include <doctest/doctest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "base/sys.h"

using namespace stasis;

namespace {

RemoteAddr address_of(const std::byte* pointer) {
  return {reinterpret_cast<u64>(pointer)};
}

void protect(const sys::Mapping& mapping, u64 offset, int protection) {
  REQUIRE(::mprotect(mapping.bytes().data() + offset, kPageSize, protection) == 0);
}

}  // namespace

TEST_CASE("what is written can be read back") {
  const auto memory = trace::RemoteMemory::open(::getpid());
  REQUIRE(memory.ok());
  auto mapping = sys::Mapping::anonymous(kPageSize);
  const RemoteAddr place = address_of(mapping->bytes().data());
  REQUIRE(memory->write_object<u64>(place, 0x1122334455667788).ok());
  CHECK(*memory->read_object<u64>(place) == 0x1122334455667788);
}

TEST_CASE("many stretches come one behind the other, empty ones and unreadable pages included") {
  const auto memory = trace::RemoteMemory::open(::getpid());
  auto mapping = sys::Mapping::anonymous(3 * kPageSize);
  const ByteSpan bytes = mapping->bytes();
  bytes[10] = std::byte{1};
  bytes[kPageSize + 5] = std::byte{2};
  bytes[2 * kPageSize] = std::byte{3};
  protect(*mapping, kPageSize, PROT_NONE);
  const RemoteAddr base = address_of(bytes.data());
  std::vector<trace::RemoteSpan> spans = {
      {base + 10, 1}, {base, 0}, {base + kPageSize + 5, 1}, {base, 0}, {base + 2 * kPageSize, 1}};
  for (int i = 0; i < 1500; ++i) spans.push_back({base + 10, 1});  // more than one call takes
  Bytes out(3 + 1500);
  REQUIRE(memory->read(spans, out).ok());
  CHECK(out[0] == std::byte{1});
  CHECK(out[1] == std::byte{2});
  CHECK(out[2] == std::byte{3});
  CHECK(out[1502] == std::byte{1});
}

TEST_CASE("memory that is not there is EFAULT and named") {
  const auto memory = trace::RemoteMemory::open(::getpid());
  std::array<std::byte, 8> out = {};
  const auto read = memory->read({16}, out);
  REQUIRE(!read);
  CHECK(read.error().code == EFAULT);
  CHECK(read.error().message().find("0x10") != std::string::npos);
  CHECK(memory->write({16}, out).error().code == EFAULT);
  CHECK(memory->write_forced({16}, out).error().code == EFAULT);
}

TEST_CASE("only the forced way writes where writing is forbidden") {
  const auto memory = trace::RemoteMemory::open(::getpid());
  auto mapping = sys::Mapping::anonymous(kPageSize);
  protect(*mapping, 0, PROT_READ);
  const RemoteAddr place = address_of(mapping->bytes().data());
  const std::array<std::byte, 1> one = {std::byte{1}};
  CHECK(memory->write(place, one).error().code == EFAULT);
  CHECK(mapping->bytes()[0] == std::byte{0});
  if (!memory->write_forced(place, one).ok()) {
    MESSAGE("skipped: this system forbids it (proc_mem.force_override)");
    return;
  }
  CHECK(mapping->bytes()[0] == std::byte{1});
}

TEST_CASE("a process that does not exist is told") {
  CHECK(trace::RemoteMemory::open(0x7ffffff0).error().code == ENOENT);
}
