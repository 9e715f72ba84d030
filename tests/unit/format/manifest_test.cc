// Manifests of what is large: whatever is written can be read.
#include <doctest/doctest.h>

#include <cerrno>

#include "support.h"

namespace stasis::format {
namespace {

std::string message_of(const auto& result) {
  return result ? "ok" : result.error().message();
}

}  // namespace

TEST_CASE("pipe data that compresses well is read as it was written, however much of it there is") {
  const std::vector<std::vector<Bytes>> kinds = {{Bytes(size_t{1} << 20, std::byte{'x'})},
                                                 std::vector<Bytes>(256, Bytes(4096)),
                                                 std::vector<Bytes>(256, Bytes(1))};
  for (const std::vector<Bytes>& packets : kinds) {
    CAPTURE(packets.front().size());
    model::Image image = one_area(1);
    for (u64 pipe = 0; pipe < 64; ++pipe) {
      image.resources.emplace_back(model::Pipe{.inode = pipe, .packets = packets});
    }
    PatternPages pages(1, 0);
    const Bytes bytes = written(image, pages);
    REQUIRE(!bytes.empty());
    auto back = opened(bytes);
    CAPTURE(message_of(back));
    REQUIRE(back);
    CHECK(back->image == image);
  }
}

TEST_CASE("what no reader takes is not written") {
  model::Image image = one_area(1);
  image.resources.emplace_back(model::Pipe{.packets = std::vector<Bytes>(2'000'000)});
  PatternPages pages(1, 0);
  const UniqueFd fd = memory_file();
  auto report = write_image(fd.get(), image, pages, {});
  REQUIRE(!report);
  CHECK(report.error().code == EFBIG);
}

TEST_CASE("a manifest that compresses too well is padded and read") {
  model::Image image = one_area(1);
  image.origin.vdso.resize(size_t{48} << 20);
  PatternPages pages(1, 0);
  const Bytes bytes = written(image, pages);
  REQUIRE(!bytes.empty());
  auto back = opened(bytes);
  REQUIRE(back);
  CHECK(back->image == image);
}

}  // namespace stasis::format
