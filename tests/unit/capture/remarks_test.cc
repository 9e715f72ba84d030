// What of /proc/PID/numa_maps speaks of policies of single areas.
#include "capture/remarks.h"

#include <doctest/doctest.h>

using stasis::capture::has_area_policies;

TEST_CASE("areas that all show one memory policy have none of their own") {
  CHECK(!has_area_policies(""));
  CHECK(!has_area_policies("55d0 default file=/bin/cat mapped=2 N0=2\n7f00 default anon=1 N0=1\n"));
  CHECK(!has_area_policies("55d0 bind:0 file=/bin/cat mapped=2 N0=2\n7f00 bind:0 anon=1 N0=1\n"));
  CHECK(has_area_policies("55d0 default file=/bin/cat mapped=2 N0=2\n7f00 bind:0 anon=1 N0=1\n"));
}
