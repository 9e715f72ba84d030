// capture/live_pages: contents of a process (ourselves), of files with holes, and of objects that
// only areas reach.
#include "capture/live_pages.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>

#include "base/sys.h"

using namespace stasis;

namespace {

UniqueFd file_with_holes() {  // pages 1 and 4 of 8 hold 'b' and 'e'; 100 bytes more at the end
  UniqueFd file(::memfd_create("holes", MFD_CLOEXEC));
  REQUIRE(file);
  REQUIRE(::ftruncate(file.get(), static_cast<off_t>(8 * kPageSize + 100)) == 0);
  for (const u64 page : {1, 4}) {
    const std::vector<char> bytes(kPageSize, static_cast<char>('a' + page));
    REQUIRE(sys::pwrite_all(file.get(), std::as_bytes(std::span(bytes)), page * kPageSize).ok());
  }
  return file;
}

char first_of(const Bytes& bytes, u64 page) {
  return static_cast<char>(bytes[page * kPageSize]);
}

}  // namespace

TEST_CASE("memory of a process: runs come one behind the other") {
  auto* memory = static_cast<char*>(
      ::mmap(nullptr, 4 * kPageSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  for (u64 page = 0; page < 4; ++page) memory[page * kPageSize] = static_cast<char>('a' + page);
  const u64 start = reinterpret_cast<u64>(memory);
  auto remote = trace::RemoteMemory::open(::getpid());
  REQUIRE(remote.ok());
  capture::LivePages pages;
  pages.add_memory(2, *remote);
  Bytes out(2 * kPageSize);
  const model::Run runs[] = {{.offset = start + 3 * kPageSize, .length = kPageSize},
                             {.offset = start + kPageSize, .length = kPageSize}};
  REQUIRE(pages.read(2, runs, out).ok());
  CHECK(first_of(out, 0) == 'd');
  CHECK(first_of(out, 1) == 'b');
  (void)::munmap(memory, 4 * kPageSize);
  CHECK(pages.read(2, runs, out).error().code == EFAULT);
  CHECK(!pages.read(7, runs, out).ok());
}

TEST_CASE("a file: its data, zeros behind its end, and the offset stays where it was") {
  UniqueFd file = file_with_holes();
  REQUIRE(::lseek(file.get(), 77, SEEK_SET) == 77);
  const auto runs = capture::file_runs(file.get(), 8 * kPageSize + 100);
  REQUIRE(runs.ok());
  CHECK(*runs == std::vector<model::Run>{{.offset = kPageSize, .length = kPageSize},
                                         {.offset = 4 * kPageSize, .length = kPageSize}});
  CHECK(::lseek(file.get(), 0, SEEK_CUR) == 77);

  capture::LivePages pages;
  pages.add_file(0, std::move(file));
  Bytes out(3 * kPageSize, std::byte{'?'});
  const model::Run wanted[] = {{.offset = 4 * kPageSize, .length = kPageSize},
                               {.offset = 8 * kPageSize, .length = 2 * kPageSize}};
  REQUIRE(pages.read(0, wanted, out).ok());
  CHECK(first_of(out, 0) == 'e');
  CHECK(first_of(out, 1) == '\0');
  CHECK(first_of(out, 2) == '\0');
}

TEST_CASE("a file without holes is one run; an empty one has none") {
  const UniqueFd file(::memfd_create("full", MFD_CLOEXEC));
  const Bytes bytes(kPageSize + 1, std::byte{'x'});
  REQUIRE(sys::pwrite_all(file.get(), bytes, 0).ok());
  CHECK(*capture::file_runs(file.get(), bytes.size()) ==
        std::vector<model::Run>{{.offset = 0, .length = 2 * kPageSize}});
  CHECK(capture::file_runs(file.get(), 0)->empty());
}

TEST_CASE("an object that only areas reach: put together from them, zeros between") {
  const UniqueFd file = file_with_holes();
  const auto map = [&](u64 page, u64 count) {
    return reinterpret_cast<u64>(::mmap(nullptr, count * kPageSize, PROT_READ, MAP_SHARED,
                                        file.get(), static_cast<off_t>(page * kPageSize)));
  };
  auto remote = trace::RemoteMemory::open(::getpid());
  REQUIRE(remote.ok());
  capture::LivePages pages;
  pages.add_mapped(
      1,
      {{.offset = kPageSize, .length = 2 * kPageSize, .memory = &*remote, .address = {map(1, 2)}},
       {.offset = 4 * kPageSize,
        .length = 2 * kPageSize,
        .memory = &*remote,
        .address = {map(4, 2)}}});
  Bytes out(6 * kPageSize, std::byte{'?'});
  const model::Run wanted[] = {{.offset = 0, .length = 6 * kPageSize}};
  REQUIRE(pages.read(1, wanted, out).ok());
  std::string firsts;
  for (u64 page = 0; page < 6; ++page)
    firsts += first_of(out, page) == 0 ? '0' : first_of(out, page);
  CHECK(firsts == "0b00e0");
}
