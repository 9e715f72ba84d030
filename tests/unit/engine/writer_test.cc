// engine/writer: the process that writes, and what becomes of the work when something becomes of
// it.
#include "engine/writer.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>

#include "../format/support.h"
#include "base/sys.h"

using namespace stasis;
using format::PatternPages;

namespace {

constexpr u64 kPages = 600;  // more than one frame

// A stand-in for pages that only a tracer may read.
class OursAlone : public model::PageSource {
 public:
  Result<void> read(model::SpaceIndex space, std::span<const model::Run> runs,
                    ByteSpan out) override {
    if (::getpid() != owner_) return fail(EPERM, "not yours");
    if (refused_) return fail(EFAULT, "no such page", "look elsewhere");
    return pattern_.read(space, runs, out);
  }
  void refuse() { refused_ = true; }

 private:
  Pid owner_ = ::getpid();
  PatternPages pattern_{1};
  bool refused_ = false;
};

// What begins to write and never ends: a pipe that nobody empties.
class NobodyReads : public PatternPages {
 public:
  NobodyReads() : PatternPages(1, 0) {
    int ends[2] = {-1, -1};
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    read_end = UniqueFd(ends[0]);
    write_end = UniqueFd(ends[1]);
  }
  UniqueFd read_end, write_end;
};

bool always(u64, u64) {
  return true;
}

Pid child() {
  const auto text = sys::read_file("/proc/self/task/" + std::to_string(::getpid()) + "/children");
  return text.ok() && !text->empty() ? std::stoi(*text) : 0;
}

// Waits until the writer has begun, does something to it, and tells how the work ended.
Error after(const std::function<void(Pid)>& accident) {
  NobodyReads pages;
  auto destination = format::Destination::adopt(std::move(pages.write_end));
  model::Image image = format::one_area(kPages);
  auto writer = engine::Writer::start(destination, image, pages, {});
  REQUIRE(writer.ok());
  bool done = false;
  const auto report = writer->written([&](u64, u64) {
    if (!done) accident(child());
    done = true;
    return true;
  });
  REQUIRE(!report.ok());
  return report.error();
}

}  // namespace

TEST_CASE("pages that the writer may not read are asked for") {
  OursAlone pages;
  const UniqueFd file = format::memory_file();
  auto destination = format::Destination::adopt(UniqueFd(::dup(file.get())));
  model::Image image = format::one_area(kPages);
  {
    auto writer = engine::Writer::start(destination, image, pages, {});
    REQUIRE(writer.ok());
    const auto report = writer->written(always);
    REQUIRE(report.ok());
    CHECK(report->page_bytes == kPages * kPageSize);
    REQUIRE(writer->commit(always).ok());
  }
  CHECK(child() == 0);
  auto opened = format::opened(format::bytes_of(file.get()));
  REQUIRE(opened.ok());
  PatternPages pattern(1);
  CHECK(format::same_contents(format::one_area(kPages), *opened->pages, pattern));
}

TEST_CASE("the reason for a page that cannot be read comes through whole") {
  OursAlone pages;
  pages.refuse();
  auto destination = format::Destination::adopt(format::memory_file());
  model::Image image = format::one_area(kPages);
  auto writer = engine::Writer::start(destination, image, pages, {});
  REQUIRE(writer.ok());
  const auto report = writer->written(always);
  REQUIRE(!report.ok());
  CHECK(report.error().code == EFAULT);
  CHECK(report.error().message() == "no such page");
  CHECK(report.error().hint == "look elsewhere");
}

TEST_CASE("a killed writer is told of") {
  const Error error = after([](Pid pid) { ::kill(pid, SIGKILL); });
  CHECK(error.what.find("killed by signal 9") != std::string::npos);
}

TEST_CASE("a stopped writer is told of") {
  const Error error = after([](Pid pid) { ::kill(pid, SIGSTOP); });
  CHECK(error.what.find("stopped by a signal") != std::string::npos);
}

TEST_CASE("work that is given up leaves no process") {
  NobodyReads pages;
  auto destination = format::Destination::adopt(std::move(pages.write_end));
  model::Image image = format::one_area(kPages);
  {
    auto writer = engine::Writer::start(destination, image, pages, {});
    REQUIRE(writer.ok());
    const auto report = writer->written([](u64, u64) { return false; });
    REQUIRE(!report.ok());
    CHECK(report.error().code == ECANCELED);
  }
  CHECK(child() == 0);
}

TEST_CASE("errors are packed and unpacked as they are") {
  Error error = fail(ENOSPC, "what", "hint");
  for (const int contexts : {0, 1, 2}) {
    const Error back = engine::unpack_error(engine::pack(error));
    CHECK(back.code == error.code);
    CHECK(back.what == error.what);
    CHECK(back.hint == error.hint);
    CHECK(back.contexts == error.contexts);
    error.contexts.push_back("context " + std::to_string(contexts));
  }
  CHECK(engine::unpack_error({}).code == EIO);
}
