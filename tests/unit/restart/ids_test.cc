// The arithmetic of ids and of parked descriptors.
#include "restart/ids.h"

#include <doctest/doctest.h>

#include <cerrno>

#include "restart/birth.h"
#include "restart/id_burner.h"
#include "restart/id_reasons.h"

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
  using enum Rung;
  CHECK(rungs_to_try(options, false) == std::vector{kSetTid, kShortWalk, kNamespaces, kLongWalk});
  CHECK(rungs_to_try(options, true).empty());
  options.namespaces_if_held = true;
  CHECK(rungs_to_try(options, true) == std::vector{kNamespaces});
  options.allow_namespaces = false;
  CHECK(rungs_to_try(options, true).empty());
  CHECK(rungs_to_try(options, false) == std::vector{kSetTid, kShortWalk, kLongWalk});
  options.restore_pids = false;
  CHECK(rungs_to_try(options, true) == std::vector{kNew});
}

TEST_CASE("ids that the counter never gives out are known before it is walked") {
  CHECK(!why_unreachable(500, 600, 32768));
  CHECK(!why_unreachable(301, 600, 32768));
  CHECK(!why_unreachable(120, 100, 32768));
  CHECK(why_unreachable(120, 120, 32768)->find("never comes back to id 120") != std::string::npos);
  CHECK(why_unreachable(40000, 600, 32768)->find("pid_max is 32768") != std::string::npos);
}

TEST_CASE("burning takes as many ids as it says") {
  auto burner = IdBurner::probe();
  REQUIRE(burner.ok());
  const auto before = last_id();
  const auto max = id_limit();
  REQUIRE(before.ok());
  REQUIRE(max.ok());
  REQUIRE(burner->burn(2000).ok());
  const auto after = last_id();
  REQUIRE(after.ok());
  // Others on this machine may take some, too; not many.
  CHECK(ids_between(*before, *after, *max) >= 2000);
  CHECK(ids_between(*before, *after, *max) < 20000);
  CHECK(burner->rate() > 0);
}

TEST_CASE("each rung tells its own reason, and only its own") {
  const IdReasons reasons{.held = "",
                          .rungs = {{Rung::kSetTid, "EPERM", ""},
                                    {Rung::kShortWalk, "too long by far", ""},
                                    {Rung::kNamespaces, "ENOSPC", ""},
                                    {Rung::kLongWalk, "still too long", ""}},
                          .untraceable = {}};
  const Error error = no_rung_left(reasons);
  CHECK(error.code == EBUSY);
  CHECK(error.message() ==
        "cannot restore the ids of the image: the kernel gives no ids on demand: EPERM; "
        "no namespaces: ENOSPC; still too long");
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
