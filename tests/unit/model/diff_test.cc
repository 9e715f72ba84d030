// What two captures may differ in, and that everything else is told.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <map>

#include "model/diff.h"
#include "model/normalise.h"
#include "model/random.h"
#include "sample.h"

namespace stasis::model {
namespace {

using Lines = std::vector<std::string>;

// Pages that are zero but for some bytes.
class FewBytes : public PageSource {
 public:
  std::map<std::pair<SpaceIndex, u64>, std::byte> bytes;
  Result<void> read(SpaceIndex space, std::span<const Run> runs, ByteSpan out) override {
    for (const Run& run : runs) {
      std::memset(out.data(), 0, run.length);
      for (const auto& [place, byte] : bytes) {
        const auto& [index, at] = place;
        if (index == space && at - run.offset < run.length) out[at - run.offset] = byte;
      }
      out = out.subspan(run.length);
    }
    return {};
  }
};

Lines after(const std::function<void(Image&)>& change, const DiffOptions& options = {}) {
  Image other = sample_image();
  change(other);
  return diff(sample_image(), other, options);
}

}  // namespace

TEST_CASE("an image does not differ from itself") {
  for (u64 seed = 0; seed < 30; ++seed) {
    const Image image = random_image(seed);
    CHECK(diff(image, image).empty());
    CHECK(diff(image, image, {.exact = true}).empty());
  }
}

TEST_CASE("different random images differ") {
  for (u64 seed = 0; seed < 30; ++seed) {
    CHECK(!diff(random_image(seed), random_image(seed + 100)).empty());
  }
}

TEST_CASE("differences are named with their path") {
  CHECK(after([](Image& i) { i.processes[0].threads[1].name = "x"; }) ==
        Lines{"processes[4711].threads[4712].name: \"worker\" != \"x\""});
  CHECK(after([](Image& i) { i.processes[0].descriptors.pop_back(); })[0] ==
        "processes[4711].descriptors[7]: there != absent");
  CHECK(after([](Image& i) { i.processes[0].memory.vmas[1].protection = 1; }) ==
        Lines{"processes[4711].memory.vmas[0x600000].protection: 3 != 1"});
  CHECK(after([](Image& i) { i.open_files[1].offset = 0; }) ==
        Lines{"open_files[1].offset: 1234 != 0"});
  CHECK(after([](Image& i) { i.resources[2] = EventFd{}; }) ==
        Lines{"resources[3]: pipe != eventfd"});
  CHECK(after([](Image& i) { std::get<Pipe>(i.resources[2]).packets[0][9] = std::byte{5}; }) ==
        Lines{"resources[3].packets[0] at byte 8 (1 words differ): 0000000000 != 0005000000"});
}

TEST_CASE("what may differ is not told") {
  const Lines none;
  CHECK(after([](Image& i) { i.origin.created_ns = 5; }) == none);
  CHECK(after([](Image& i) { i.processes[0].parent = 1; }) == none);
  CHECK(after([](Image& i) { i.processes[0].group = 9; }) == none);
  CHECK(after([](Image& i) { std::get<Pipe>(i.resources[2]).inode = 9; }) == none);
  CHECK(after([](Image& i) { i.resources[3] = Terminal{.path = "/dev/pts/9"}; }) == none);
  CHECK(after([](Image& i) { i.processes[0].interval_timers[0].value_us = 900000; }) == none);
  CHECK(after([](Image& i) { i.processes[0].threads[0].interrupted->remaining_ns = 5; }) == none);
  CHECK(after([](Image& i) { std::get<RegularFile>(i.resources[1]).identity.mtime_ns = 5; }) ==
        none);
  CHECK(after([](Image& i) { i.spaces[0].runs.pop_back(); }) == none);
  CHECK(after([](Image& i) {
          i.processes[0].memory.vmas[3].flags = {"gd", "rd", "sd", "wr"};
        }) == none);
}

TEST_CASE("what may not differ is told although something like it may") {
  CHECK(!after([](Image& i) { i.processes[0].interval_timers[0].value_us = 0; }).empty());
  CHECK(!after([](Image& i) { i.processes[0].threads[0].interrupted->remaining_ns = -1; }).empty());
  CHECK(!after([](Image& i) { i.processes[0].threads[0].interrupted.reset(); }).empty());
  CHECK(!after([](Image& i) { std::get<RegularFile>(i.resources[1]).identity.inode = 9; }).empty());
  CHECK(!after([](Image& i) {
           i.spaces[0].runs.insert(i.spaces[0].runs.begin(), {0x500000, 0x1000, RunKind::kGuard});
         }).empty());
  CHECK(!after([](Image& i) { i.origin.created_ns = 5; }, {.exact = true}).empty());
}

TEST_CASE("the order of the lists does not matter") {
  CHECK(after([](Image& i) {
          std::swap(i.resources[1], i.resources[2]);
          i.open_files[1].resource = 2;
          i.open_files[2].resource = 1;
          std::swap(i.open_files[0], i.open_files[2]);
          i.processes[0].descriptors[0].open_file = 2;
          i.processes[0].descriptors[1].open_file = 2;
          i.processes[0].descriptors[3].open_file = 0;
        }) == Lines{});
  // But sharing does: 0 and 1 are one open file.
  CHECK(!after([](Image& i) {
           i.open_files.push_back(i.open_files[0]);
           i.processes[0].descriptors[1].open_file = 3;
         }).empty());
}

TEST_CASE("areas that the kernel may merge are merged") {
  CHECK(after([](Image& i) {
          auto& vmas = i.processes[0].memory.vmas;
          Vma half = vmas[2];
          vmas[2].end = half.start + 0x1000;
          half.start = vmas[2].end;
          vmas.insert(vmas.begin() + 3, half);
        }) == Lines{});
}

TEST_CASE("members can be left out by name") {
  const auto change = [](Image& i) {
    i.processes[0].threads[0].registers.general = Bytes(8);
    i.processes[0].umask = 7;
  };
  CHECK(after(change).size() == 2);
  CHECK(after(change, {.ignored = {"registers"}}).size() == 1);
  CHECK(after(change, {.ignored = {"threads.registers.general", "processes.umask"}}).empty());
}

TEST_CASE("many differences are cut short") {
  const auto lines = after(
      [](Image& i) {
        for (Thread& each : i.processes[0].threads) each.name = "x";
        i.processes[0].umask = 1;
      },
      {.most_lines = 1});
  REQUIRE(lines.size() == 2);
  CHECK(lines[1] == "and 2 more");
}

TEST_CASE("contents are compared over the union of runs") {
  const Image a = sample_image();
  Image b = a;
  FewBytes pages_a;
  FewBytes pages_b;
  CHECK(diff_contents(a, pages_a, b, pages_b).take_value().empty());
  b.spaces[0].runs.push_back({0x7f0000000000, 0x1000, RunKind::kData});
  std::ranges::sort(b.spaces[0].runs, {}, &Run::offset);
  CHECK(diff_contents(a, pages_a, b, pages_b).take_value().empty());  // a zero page more
  pages_b.bytes[{0, 0x7f0000000123}] = std::byte{7};
  const Lines expected{
      "contents of memory of process 4711: page 0x7f0000000000: byte 0x7f0000000123: 00 != 07"};
  CHECK(diff_contents(a, pages_a, b, pages_b).take_value() == expected);
  CHECK(diff_contents(b, pages_b, a, pages_a).take_value().size() == 1);
  CHECK(diff_contents(a, pages_a, b, pages_b, {.ignored = {{0x7f0000000100, 0x100}}})
            .take_value()
            .empty());
}

TEST_CASE("pages of private file areas that only one side has are compared with the file") {
  const Image a = sample_image();
  Image b = a;
  b.spaces[0].runs.insert(b.spaces[0].runs.begin(), {0x401000, 0x1000, RunKind::kData});
  FewBytes pages;
  pages.bytes[{0, 0x401001}] = std::byte{7};
  CHECK(diff_contents(a, pages, b, pages).take_value().empty());  // nothing to compare with
  ContentsDiffOptions options;
  options.file_page = [](const Image&, const Vma&, u64, ByteSpan page) -> Result<void> {
    std::fill(page.begin(), page.end(), std::byte{});
    page[1] = std::byte{7};
    return {};
  };
  CHECK(diff_contents(a, pages, b, pages, options).take_value().empty());
  options.file_page = [](const Image&, const Vma&, u64, ByteSpan page) -> Result<void> {
    std::fill(page.begin(), page.end(), std::byte{});
    return {};
  };
  CHECK(diff_contents(a, pages, b, pages, options).take_value().size() == 1);
}

}  // namespace stasis::model
