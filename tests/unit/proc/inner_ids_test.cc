// Ids as a process in a pid namespace of its own sees them, from the text of /proc/PID/status.
#include "proc/inner_ids.h"

#include <doctest/doctest.h>

using namespace stasis;

TEST_CASE("ids as the process sees them are the last of each line") {
  const auto ids = proc::parse_inner_ids(
      "Name:\tsleep\nNStgid:\t1500\t326\nNSpid:\t1500\t326\nNSpgid:\t1499\t0\nNSsid:\t1400\t12\n");
  CHECK(ids == proc::InnerIds{.pid = 326, .group = 0, .session = 12, .depth = 2});
}

TEST_CASE("a process without a namespace of its own has one of each") {
  const auto ids = proc::parse_inner_ids("Name:\tsleep\nNSpid:\t8\nNSpgid:\t7\nNSsid:\t6\n");
  CHECK(ids == proc::InnerIds{.pid = 8, .group = 7, .session = 6, .depth = 1});
}
