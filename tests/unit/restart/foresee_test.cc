// What a restart can be refused for beyond validate_test.cc, of made-up images; and paths of /proc.
#include "restart/foresee.h"

#include <doctest/doctest.h>
#include <sys/resource.h>

#include "restart/proc_paths.h"

using namespace stasis;
using namespace stasis::restart;

namespace {

model::Image image() {
  model::Image result;
  result.spaces.emplace_back();
  model::Process& process = result.processes.emplace_back();
  process.pid = 77;
  process.threads.emplace_back().tid = 77;
  return result;
}

Machine machine() {
  Machine result;
  result.limits = {{RLIMIT_NOFILE, 1024, 4096}};
  return result;
}

std::vector<Refusal> details(const model::Image& image) {
  return detail_obstacles(image, image.processes[0], machine());
}

}  // namespace

TEST_CASE("nothing speaks against a plain process") {
  CHECK(details(image()).empty());
}

TEST_CASE("a descriptor beyond our limit is refused") {
  model::Image other = image();
  other.processes[0].descriptors.push_back({.number = 4096});
  REQUIRE(details(other).size() == 1);
  CHECK(details(other)[0].reason.find("descriptor 4096") != std::string::npos);
  other.processes[0].descriptors[0].number = 4095;
  CHECK(details(other).empty());
}

TEST_CASE("a timer on the CPU clock of a stranger is refused, of our own is not") {
  model::Image other = image();
  other.processes[0].posix_timers.push_back({.clock = (~78 << 3) | 2});
  CHECK(details(other).size() == 1);
  other.processes[0].posix_timers[0].clock = (~77 << 3) | 2;
  CHECK(details(other).empty());
}

TEST_CASE("marks of memory in disorder are refused") {
  model::Image other = image();
  other.processes[0].memory.marks.start_brk = {0x2000};
  other.processes[0].memory.marks.brk = {0x1000};
  CHECK(details(other).size() == 1);
}

TEST_CASE("a real-time I/O priority is refused without leave for it") {
  model::Image other = image();
  other.processes[0].threads[0].scheduling.io_priority = 1 << 13 | 4;
  CHECK(details(other).size() == 1);
}

TEST_CASE("paths of /proc name processes, which may have other ids now") {
  CHECK(process_of_path("/proc/77/fd") == 77);
  CHECK(process_of_path("/proc/77") == 77);
  CHECK(process_of_path("/proc/77x") == 0);
  CHECK(process_of_path("/proc/sys") == 0);
  CHECK(process_of_path("/tmp/77") == 0);
  const std::map<Pid, Pid> ids = {{77, 1000}, {78, 1001}};
  CHECK(with_new_ids("/proc/77/fd", ids) == "/proc/1000/fd");
  CHECK(with_new_ids("/proc/77/task/78/fd", ids) == "/proc/1000/task/1001/fd");
  CHECK(with_new_ids("/proc/79/task/78", ids) == "/proc/79/task/1001");
  CHECK(with_new_ids("/proc/sys", ids) == "/proc/sys");
  CHECK(with_new_ids("/home/77", ids) == "/home/77");
}
