// cli/relocate: OLD=NEW and its escapes, as BLCR reads them.
#include "relocate.h"

#include <doctest/doctest.h>

#include "options.h"

using namespace stasis;
using namespace stasis::cli;

namespace {

void expect(std::string_view text, std::string_view from, std::string_view to) {
  CAPTURE(text);
  const auto parsed = parse_relocation(text);
  REQUIRE(parsed.ok());
  REQUIRE(parsed->has_value());
  CHECK((*parsed)->from == from);
  CHECK((*parsed)->to == to);
}

}  // namespace

TEST_CASE("a relocation is two absolute paths without trailing slashes") {
  expect("/old=/new", "/old", "/new");
  expect("/old///=/new/", "/old", "/new");
  expect("/=/new", "/", "/new");
}

TEST_CASE("equals signs and backslashes can be escaped") {
  expect(R"(/a\=b=/c)", "/a=b", "/c");
  expect(R"(/a\\=/c)", "/a\\", "/c");
  expect(R"(/a\b=/c)", "/a\\b", "/c");
  expect(R"(/a=/c\)", "/a", "/c\\");
}

TEST_CASE("the same path on both sides means nothing is to be done") {
  const auto parsed = parse_relocation("/old/=/old");
  REQUIRE(parsed.ok());
  CHECK(!parsed->has_value());
}

TEST_CASE("everything else is a usage error") {
  for (const char* bad : {"", "=", "/old", "/old=", "=/new", "old=/new", "/old=new", "/a=/b=/c"}) {
    CAPTURE(bad);
    const auto parsed = parse_relocation(bad);
    REQUIRE(!parsed);
    CHECK(parsed.error().code == kUsageError);
  }
}
