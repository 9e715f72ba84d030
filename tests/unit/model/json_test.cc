// Images to JSON and back, in both styles, and what reading refuses.
#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "model/json.h"
#include "model/print.h"
#include "model/random.h"
#include "model/validate.h"

namespace stasis::model {

TEST_CASE("random images survive JSON") {
  for (u64 seed = 0; seed < 50; ++seed) {
    CAPTURE(seed);
    const Image image = random_image(seed);
    REQUIRE(validate(image));
    const auto machine = image_from_json(to_json(image, JsonStyle::kMachine));
    REQUIRE(machine);
    CHECK(*machine == image);
    const auto people = image_from_json(to_json(image, JsonStyle::kPeople));
    REQUIRE(people);
    CHECK(*people == image);
  }
}

TEST_CASE("the JSON for people is text, whatever the names are") {
  const Image image = random_image(3);
  const auto parsed = nlohmann::json::parse(print_json(image), nullptr, false);
  CHECK(!parsed.is_discarded());
  CHECK(parsed["processes"].size() == image.processes.size());
}

TEST_CASE("errors name the member") {
  auto json = to_json(random_image(1), JsonStyle::kMachine);
  json["processes"][0]["threads"][0]["tid"] = "seven";
  auto read = image_from_json(json);
  REQUIRE(!read);
  CHECK(read.error().message() ==
        "processes: [0]: threads: [0]: tid: expected an integer, found string");
}

TEST_CASE("integers out of range are refused") {
  for (const nlohmann::json& bad :
       {nlohmann::json(u64{1} << 31), nlohmann::json(-(i64{1} << 31) - 1), nlohmann::json(~u64{0}),
        nlohmann::json(1.5)}) {
    auto json = to_json(random_image(1), JsonStyle::kMachine);
    json["processes"][0]["pid"] = bad;
    CHECK(!image_from_json(json));
  }
  auto json = to_json(random_image(1), JsonStyle::kMachine);
  json["processes"][0]["umask"] = -1;
  CHECK(!image_from_json(json));
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
