// The arithmetic of ids and of parked descriptors.
#include "restart/ids.h"

#include <doctest/doctest.h>

#include "restart/birth.h"

namespace stasis::restart {

TEST_CASE("the walk is counted around the end of the ids") {
  const std::vector<Birth> one = {{500, 0, 0}};
  CHECK(ids_to_walk(490, one, 32768) == 10);
  CHECK(ids_to_walk(500, one, 32768) == 32768 - 500 - 1 + 201);
  const std::vector<Birth> wrapped = {{32760, 0, 0}, {300, 0, 1}};
  CHECK(ids_to_walk(32750, wrapped, 32768) == 10 + 7 + 1);
}

TEST_CASE("a counter passes ids between two of its values, also when it wraps") {
  CHECK(has_passed(10, 12, 11));
  CHECK(has_passed(10, 12, 12));
  CHECK(!has_passed(10, 12, 10));
  CHECK(!has_passed(10, 12, 13));
  CHECK(has_passed(32000, 400, 32700));
  CHECK(has_passed(32000, 400, 350));
  CHECK(!has_passed(32000, 400, 500));
}

TEST_CASE("the ladder leaves out what cannot work") {
  BuildOptions options;
  using enum IdWay;
  CHECK(ways_to_try(options, false, true) == std::vector{kSetTid, kCounter, kNamespaces});
  CHECK(ways_to_try(options, false, false) == std::vector{kSetTid, kNamespaces});
  CHECK(ways_to_try(options, true, true).empty());
  options.namespaces_if_held = true;
  CHECK(ways_to_try(options, true, true) == std::vector{kNamespaces});
  CHECK(ways_to_try(options, false, false) == std::vector{kSetTid, kNamespaces});
  options.allow_namespaces = false;
  CHECK(ways_to_try(options, true, true).empty());
  options.restore_pids = false;
  CHECK(ways_to_try(options, true, true) == std::vector{kNew});
}

TEST_CASE("a walk of the usual 32768 ids is short, one of four million is not") {
  CHECK(is_short_walk(32768));
  CHECK(!is_short_walk(4194304));
}

TEST_CASE("descriptors are parked behind all others") {
  const auto plan = plan_parking({5, 4, 5}, {0, 1, 9}, 1024);
  REQUIRE(plan.ok());
  REQUIRE(plan->size() == 2);
  CHECK((*plan)[0].from == 4);
  CHECK((*plan)[0].to == 10);
  CHECK((*plan)[1].from == 5);
  CHECK((*plan)[1].to == 11);
}

TEST_CASE("descriptors are parked in gaps when the limit is near") {
  const auto plan = plan_parking({3, 4}, {0, 2, 9}, 10);
  REQUIRE(plan.ok());
  CHECK((*plan)[0].to == 1);
  CHECK((*plan)[1].to == 5);
  const auto full = plan_parking({3, 4}, {0, 1, 2}, 5);
  REQUIRE(!full.ok());
  CHECK(full.error().code == EMFILE);
}

}  // namespace stasis::restart
