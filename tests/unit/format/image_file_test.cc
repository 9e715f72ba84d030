// Images written and read back: random ones, both compressions, pipes, zero pages, many threads.
#include <doctest/doctest.h>
#include <fcntl.h>

#include <thread>

#include "base/sys.h"
#include "format/layout.h"
#include "model/validate.h"
#include "support.h"

namespace stasis::format {
namespace {

constexpr Compression kBoth[] = {Compression::kNone, Compression::kZstd};

std::string message_of(const auto& result) {
  return result ? "ok" : result.error().message();
}

}  // namespace

TEST_CASE("random images come back as they were written") {
  for (u64 seed = 0; seed < 60; ++seed) {
    CAPTURE(seed);
    for (const Compression compression : kBoth) {
      const model::Image before = image_for_here(seed);
      CAPTURE(message_of(model::validate(before)));
      REQUIRE(model::validate(before));
      model::Image image = before;
      PatternPages pages(seed);
      const Bytes bytes = written(image, pages, {.compression = compression, .workers = 1});
      REQUIRE(!bytes.empty());
      auto back = opened(bytes);
      CAPTURE(message_of(back));
      REQUIRE(back);
      CHECK(back->image == image);
      CHECK(back->compression == compression);
      CHECK(back->file_bytes == bytes.size());
      CHECK(same_contents(before, pages, *back->pages));
      CHECK(verify(*back));
      CHECK(check_frames(*back));
    }
  }
}

TEST_CASE("several workers write what one writes") {
  for (const Compression compression : kBoth) {
    const model::Image before = one_area(3000);
    PatternPages pages(3);
    model::Image one = before;
    const Bytes alone = written(one, pages, {.compression = compression, .workers = 1});
    for (const unsigned workers : {2U, 7U}) {
      model::Image many = before;
      CHECK(written(many, pages, {.compression = compression, .workers = workers}) == alone);
      CHECK(many == one);
    }
  }
}

TEST_CASE("pipe in, pipe out") {
  for (const u64 page_count : {3U, 2000U}) {
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    UniqueFd out(ends[1]);
    const model::Image before = one_area(page_count);
    PatternPages pages(5);
    std::thread writer([&] {
      model::Image image = before;
      CHECK(write_image(out.get(), image, pages, {}));
      out.reset();
    });
    auto back = open_image(UniqueFd(ends[0]));
    writer.join();
    CAPTURE(message_of(back));
    REQUIRE(back);
    CHECK(same_contents(before, pages, *back->pages));
  }
}

TEST_CASE("a non-blocking pipe is waited for") {
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  REQUIRE(::fcntl(ends[1], F_SETFL, O_NONBLOCK) == 0);
  UniqueFd out(ends[1]);
  PatternPages pages(5);
  std::thread writer([&] {
    model::Image image = one_area(500);
    CHECK(write_image(out.get(), image, pages, {}));
    out.reset();
  });
  CHECK(open_image(UniqueFd(ends[0])));
  writer.join();
}

TEST_CASE("a pipe that nobody empties does not hold the writer for ever") {
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  const UniqueFd in(ends[0]);
  const UniqueFd out(ends[1]);
  model::Image image = one_area(500);
  PatternPages pages(1, 0);
  WriteOptions options;
  int asked = 0;
  options.progress = [&](u64, u64) { return ++asked < 5; };
  const auto report = write_image(out.get(), image, pages, options);
  REQUIRE(!report);
  CHECK(report.error().code == ECANCELED);
}

TEST_CASE("a closed pipe is an error, not a signal") {
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  ::close(ends[0]);
  const UniqueFd out(ends[1]);
  model::Image image = one_area(10);
  PatternPages pages(1);
  const auto report = write_image(out.get(), image, pages, {});
  REQUIRE(!report);
  CHECK(report.error().code == EPIPE);
}

TEST_CASE("a full disk is ENOSPC") {
  const auto full = sys::open("/dev/full", O_WRONLY);
  REQUIRE(full);
  model::Image image = one_area(1000);
  PatternPages pages(1);
  const auto report = write_image(full->get(), image, pages, {});
  REQUIRE(!report);
  CHECK(report.error().code == ENOSPC);
}

TEST_CASE("progress is told, and stops the writing") {
  u64 last = 0;
  model::Image image = one_area(1000);
  PatternPages pages(1);
  const UniqueFd fd = memory_file();
  WriteOptions options;
  options.progress = [&](u64 done, u64 total) {
    CHECK(done > last);
    CHECK(total == 1000 * kPageSize);
    last = done;
    return true;
  };
  REQUIRE(write_image(fd.get(), image, pages, options));
  CHECK(last == 1000 * kPageSize);
  options.progress = [](u64, u64) { return false; };
  model::Image again = one_area(1000);
  const auto stopped = write_image(fd.get(), again, pages, options);
  REQUIRE(!stopped);
  CHECK(stopped.error().code == ECANCELED);
}

TEST_CASE("an error of the page source is passed on") {
  struct Broken : model::PageSource {
    Result<void> read(model::SpaceIndex, std::span<const model::Run>, ByteSpan) override {
      return fail(ESRCH, "the process is gone");
    }
  } broken;
  for (const u64 page_count : {5U, 5000U}) {
    model::Image image = one_area(page_count);
    const UniqueFd fd = memory_file();
    const auto report = write_image(fd.get(), image, broken, {.workers = 3});
    REQUIRE(!report);
    CHECK(report.error().code == ESRCH);
  }
}

TEST_CASE("zero pages are not stored") {
  struct Zeros : model::PageSource {
    Result<void> read(model::SpaceIndex, std::span<const model::Run>, ByteSpan out) override {
      std::fill(out.begin(), out.end(), std::byte{});
      return {};
    }
  } zeros;
  model::Image image = one_area(20000);
  const UniqueFd fd = memory_file();
  const auto report = write_image(fd.get(), image, zeros, {});
  REQUIRE(report);
  CHECK(report->page_bytes == 20000 * kPageSize);
  CHECK(report->stored_bytes == 0);
  CHECK(report->file_bytes < 1200);
  CHECK(image.spaces[0].runs.empty());

  SUBCASE("but named where a private file mapping would show the file") {
    model::Image mapped = one_area(20);
    mapped.resources.emplace_back(model::RegularFile{.path = "/x"});
    mapped.processes[0].memory.vmas[0].kind = model::VmaKind::kFile;
    mapped.processes[0].memory.vmas[0].resource = 0;
    const model::Run run = mapped.spaces[0].runs[0];
    REQUIRE(write_image(fd.get(), mapped, zeros, {}));
    REQUIRE(mapped.spaces[0].runs.size() == 1);
    CHECK(mapped.spaces[0].runs[0] == model::Run{run.offset, run.length, model::RunKind::kZero});
  }
}

TEST_CASE("runs that touch are not joined, halves of a run are") {
  model::Image image = one_area(1000);
  const u64 start = image.spaces[0].runs[0].offset;
  image.spaces[0].runs = {{start, 500 * kPageSize}, {start + 500 * kPageSize, 500 * kPageSize}};
  const auto runs = image.spaces[0].runs;
  PatternPages pages(1, 0);
  for (const unsigned workers : {1U, 2U}) {
    image.spaces[0].runs = runs;
    REQUIRE(!written(image, pages, {.workers = workers}).empty());
    CHECK(image.spaces[0].runs == runs);
  }
}

TEST_CASE("raw contents can be read where raw_position says") {
  model::Image image = one_area(600);
  const u64 start = image.spaces[0].runs[0].offset;
  PatternPages pages(1);
  auto back = opened(written(image, pages, {.compression = Compression::kNone}));
  REQUIRE(back);
  for (const model::Run& run : image.spaces[0].runs) {
    const auto position = back->raw_position(0, run.offset, run.length);
    REQUIRE(position);
    CHECK(*position % kPageSize == 0);
    Bytes raw(run.length), wanted(run.length);
    REQUIRE(sys::pread_full(back->fd, raw, *position));
    REQUIRE(pages.read(0, std::span(&run, 1), wanted));
    CHECK(raw == wanted);
    CHECK(!back->raw_position(0, run.offset, run.length + kPageSize));
  }
  CHECK(!back->raw_position(0, start - kPageSize, kPageSize));
  CHECK(!back->raw_position(9, start, kPageSize));
}

TEST_CASE("compressed contents have no raw position") {
  model::Image image = one_area(6);
  PatternPages pages(1, 0);
  auto back = opened(written(image, pages));
  REQUIRE(back);
  CHECK(!back->raw_position(0, image.spaces[0].runs[0].offset, kPageSize));
}

TEST_CASE("an image may begin inside a file") {
  for (const u64 before_it : {10U, 4096U}) {
    model::Image image = one_area(30);
    PatternPages pages(1);
    const UniqueFd fd = memory_file();
    REQUIRE(sys::write_all(fd.get(), Bytes(before_it, std::byte{'x'})));
    REQUIRE(write_image(fd.get(), image, pages, {.compression = Compression::kNone}));
    ::lseek(fd.get(), static_cast<off_t>(before_it), SEEK_SET);
    auto back = open_image(sys::duplicate(fd.get()).take_value());
    REQUIRE(back);
    CHECK(same_contents(one_area(30), pages, *back->pages));
    const auto position =
        back->raw_position(0, image.spaces[0].runs[0].offset, image.spaces[0].runs[0].length);
    CHECK(position.has_value() == (before_it == 4096));
  }
}

TEST_CASE("many threads read at once") {
  model::Image image = one_area(2000);
  const model::Image before = image;
  PatternPages pages(8);
  auto back = opened(written(image, pages));
  REQUIRE(back);
  std::vector<std::thread> threads;
  std::atomic<int> bad = 0;
  for (u64 i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      for (u64 k = i; k < 400; k += 3) {
        const model::Run run{before.spaces[0].runs[0].offset + (k * 37 % 1990) * kPageSize,
                             (1 + k % 9) * kPageSize};
        Bytes mine(run.length), wanted(run.length);
        if (!back->pages->read(0, std::span(&run, 1), mine)) ++bad;
        (void)pages.read(0, std::span(&run, 1), wanted);
        if (mine != wanted) ++bad;
      }
    });
  }
  for (auto& each : threads) each.join();
  CHECK(bad == 0);
}

}  // namespace stasis::format
