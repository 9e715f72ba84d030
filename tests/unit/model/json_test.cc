// Images to JSON.
#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "model/json.h"
#include "model/print.h"
#include "model/random.h"

namespace stasis::model {

TEST_CASE("the JSON for people is text, whatever the names are") {
  const Image image = random_image(3);
  const auto parsed = nlohmann::json::parse(print_json(image), nullptr, false);
  CHECK(!parsed.is_discarded());
  CHECK(parsed["processes"].size() == image.processes.size());
}

TEST_CASE("optional fields at their default are left out") {
  Image image = random_image(1);
  image.origin.cpus = 0;
  CHECK(!to_json(image, JsonStyle::kMachine)["origin"].contains("cpus"));
  image.origin.cpus = 4;
  CHECK(to_json(image, JsonStyle::kMachine)["origin"]["cpus"] == 4);
}

TEST_CASE("UTF-8") {
  for (const char* good : {"", "abc", "\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x98\x80"}) {
    CHECK(is_utf8(good));
  }
  for (const char* bad : {"\x80", "\xc0\x80", "\xc3", "\xe0\x80\x80", "\xed\xa0\x80",
                          "\xf5\x80\x80\x80", "\xf4\x90\x80\x80", "a\xff"}) {
    CHECK(!is_utf8(bad));
  }
}

}  // namespace stasis::model
