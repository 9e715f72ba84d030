// capture/buffered_pages: what was copied aside reads as its source did.
#include "capture/buffered_pages.h"

#include <doctest/doctest.h>

using namespace stasis;
using model::Run;
using model::RunKind;

namespace {

// Every byte tells the page and the space that it is from.
class Pattern : public model::PageSource {
 public:
  static std::byte at(model::SpaceIndex space, u64 offset) {
    return static_cast<std::byte>((offset / kPageSize) * 7 + space + offset % 3);
  }
  Result<void> read(model::SpaceIndex space, std::span<const Run> runs, ByteSpan out) override {
    size_t done = 0;
    for (const Run& run : runs) {
      for (u64 i = 0; i < run.length; ++i) out[done++] = at(space, run.offset + i);
    }
    return {};
  }
};

model::Image image_with_two_spaces() {
  model::Image image;
  image.spaces.resize(2);
  image.spaces[0].runs = {{.offset = 0x10000, .length = 0x3000},
                          {.offset = 0x14000, .length = 0x1000, .kind = RunKind::kZero},
                          {.offset = 0x20000, .length = 0x1000}};
  image.spaces[1].runs = {{.offset = 0, .length = 0x2000}};
  return image;
}

}  // namespace

TEST_CASE("parts of copied runs read as their source, zero runs take no room") {
  const model::Image image = image_with_two_spaces();
  CHECK(capture::content_bytes(image) == 0x6000);
  Pattern source;
  auto pages = capture::buffer_pages(image, source);
  REQUIRE(pages.ok());
  Bytes out(0x3000);
  const Run parts[] = {{.offset = 0x11000, .length = 0x2000},
                       {.offset = 0x20000, .length = 0x1000}};
  REQUIRE((*pages)->read(0, parts, out).ok());
  CHECK(out[0] == Pattern::at(0, 0x11000));
  CHECK(out[0x1fff] == Pattern::at(0, 0x12fff));
  CHECK(out[0x2000] == Pattern::at(0, 0x20000));
  const Run other[] = {{.offset = 0x1000, .length = 0x1000}};
  REQUIRE((*pages)->read(1, other, ByteSpan(out).first(0x1000)).ok());
  CHECK(out[5] == Pattern::at(1, 0x1005));
}

TEST_CASE("pages that were not copied are an error, not zeros") {
  const model::Image image = image_with_two_spaces();
  Pattern source;
  auto pages = capture::buffer_pages(image, source);
  Bytes out(0x1000);
  const Run outside[] = {{.offset = 0x13000, .length = 0x1000}};
  CHECK(!(*pages)->read(0, outside, out));
  const Run before[] = {{.offset = 0, .length = 0x1000}};
  CHECK(!(*pages)->read(0, before, out));
}
