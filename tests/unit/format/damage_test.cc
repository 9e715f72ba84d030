// Every truncation and every changed byte of a small file is refused, whichever part it hits,
// without a large allocation.
#include <doctest/doctest.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "forge.h"
#include "format/layout.h"
#include "support.h"

namespace {
std::atomic<std::size_t> largest_allocation = 0;
}

// Records the largest request of this program.
void* operator new(std::size_t size) {
  std::size_t seen = largest_allocation;
  while (size > seen && !largest_allocation.compare_exchange_weak(seen, size)) {
  }
  if (void* memory = std::malloc(size)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}

namespace stasis::format {
namespace {

// Opens and reads everything; the code of the first error, 0 if there is none.
int outcome(ByteView bytes) {
  auto image = opened(bytes);
  if (!image) return image.error().code;
  const auto checked = verify(*image);
  return checked ? 0 : checked.error().code;
}

Bytes small_file(Compression compression) {
  model::Image image = one_area(1);
  PatternPages pages(1, 0);
  return written(image, pages, {.compression = compression});
}

}  // namespace

TEST_CASE("every truncation is refused") {
  for (const auto compression : {Compression::kNone, Compression::kZstd}) {
    const Bytes whole = small_file(compression);
    REQUIRE(outcome(whole) == 0);
    largest_allocation = 0;
    for (size_t size = 0; size < whole.size(); ++size) {
      CAPTURE(size);
      CHECK(outcome(ByteView(whole).first(size)) == EIO);
    }
    CHECK(largest_allocation < (size_t{1} << 20));
  }
}

TEST_CASE("every single changed byte is refused") {
  for (const auto compression : {Compression::kNone, Compression::kZstd}) {
    Bytes bytes = small_file(compression);
    largest_allocation = 0;
    for (size_t at = 0; at < bytes.size(); ++at) {
      constexpr u8 kFlips[] = {0x01, 0x80, 0xff};
      const std::byte flip{kFlips[at % std::size(kFlips)]};
      bytes[at] ^= flip;
      const int code = outcome(bytes);
      bytes[at] ^= flip;
      // The magic and the version decide what the file is; all else is damage.
      if (code != (at < 12 ? EINVAL : EIO)) {
        CAPTURE(at);
        FAIL_CHECK("unexpected outcome ", code);
      }
    }
    REQUIRE(outcome(bytes) == 0);
    CHECK(largest_allocation < (size_t{1} << 20));
  }
}

TEST_CASE("damage is named with its part and offset") {
  const Bytes whole = small_file(Compression::kZstd);
  const auto message_after = [&](size_t at) {
    Bytes bytes = whole;
    bytes[at] ^= std::byte{1};
    auto image = opened(bytes);
    if (!image) return image.error().message();
    return verify(*image).error().message();
  };
  const auto has = [](const std::string& text, const char* part) {
    return text.find(part) != std::string::npos;
  };
  CHECK(has(message_after(20), "the header (at offset 0)"));
  CHECK(has(message_after(100), "page frame 0 (at offset 64)"));
  CHECK(has(message_after(whole.size() - 20), "the footer (at offset "));
  CHECK(has(message_after(whole.size() - 100), "the index (at offset "));
  CHECK(has(message_after(whole.size() - 130), "the manifest (at offset "));
  CHECK(has(message_after(whole.size() - 1), "truncated or damaged"));
}

TEST_CASE("bytes behind the end are refused") {
  Bytes bytes = small_file(Compression::kZstd);
  bytes.push_back(std::byte{});
  CHECK(outcome(bytes) == EIO);
}

TEST_CASE("two files mixed are refused") {
  const Bytes one = small_file(Compression::kZstd);
  Bytes other = Forgery().bytes();
  std::copy_n(one.begin(), kHeaderBytes, other.begin());
  CHECK(outcome(other) == 0);  // the same header: nothing is mixed
  Forgery raw;
  raw.header.compression = kCompressionNone;
  const Bytes raw_header = encode(raw.header);
  std::copy_n(raw_header.begin(), kHeaderBytes, other.begin());
  CHECK(outcome(other) == EIO);
}

}  // namespace stasis::format
