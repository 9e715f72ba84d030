// Our XXH64 against known values, and against the checksums that zstd puts at the end of frames.
#include <doctest/doctest.h>
#include <zstd.h>

#include "format/hash.h"
#include "format/layout.h"
#include "support.h"

namespace stasis::format {

TEST_CASE("XXH64 of known strings") {
  const auto of = [](std::string_view text) { return hash_bytes(std::as_bytes(std::span(text))); };
  CHECK(of("") == 0xef46db3751d8e999U);
  CHECK(of("a") == 0xd24ec4f1a98c6e5bU);
  CHECK(of("abc") == 0x44bc2cf5ad770999U);
}

TEST_CASE("XXH64 is what zstd computes, at every length") {
  ZSTD_CCtx* context = ZSTD_createCCtx();
  REQUIRE(ZSTD_isError(ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1)) == 0);
  Bytes out(10000);
  for (size_t length = 0; length < 300; ++length) {
    Bytes bytes(length);
    for (size_t i = 0; i < length; ++i) bytes[i] = static_cast<std::byte>(i * 37 + length);
    const size_t size = ZSTD_compress2(context, out.data(), out.size(), bytes.data(), length);
    CHECK(get32(out, size - 4) == static_cast<u32>(hash_bytes(bytes)));
  }
  ZSTD_freeCCtx(context);
}

}  // namespace stasis::format
