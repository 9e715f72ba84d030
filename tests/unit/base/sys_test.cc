// base/sys: ownership, whole reads, and the sentence an error makes.
#include "base/sys.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

using namespace stasis;

TEST_CASE("opening what is not there says what was tried and the kernel's answer") {
  const auto fd = sys::open("/nonexistent/x", O_RDONLY);
  REQUIRE(!fd);
  CHECK(fd.error().code == ENOENT);
  CHECK(fd.error().message() == "cannot open /nonexistent/x: No such file or directory");
}

TEST_CASE("descriptors come back close-on-exec and are closed with their owner") {
  int number = -1;
  {
    const auto fd = sys::open("/dev/null", O_RDONLY);
    REQUIRE(fd.ok());
    number = fd->get();
    CHECK((::fcntl(number, F_GETFD) & FD_CLOEXEC) != 0);
  }
  CHECK(::fcntl(number, F_GETFD) == -1);
}

TEST_CASE("files of /proc are read whole and directories sort numbers as numbers") {
  CHECK(sys::read_file("/proc/self/maps")->find("[stack]") != std::string::npos);
  const auto numbers = sys::list_numbers("/proc/self/fd");
  REQUIRE(numbers.ok());
  CHECK(std::is_sorted(numbers->begin(), numbers->end()));
  CHECK(numbers->at(0) == 0);
}

TEST_CASE("kcmp tells a dup from a second open") {
  auto first = sys::open("/dev/null", O_RDONLY);
  auto second = sys::open("/dev/null", O_RDONLY);
  auto copy = sys::duplicate(first->get());
  const Pid self = ::getpid();
  CHECK(*sys::same_open_file(self, first->get(), self, copy->get()));
  CHECK(!*sys::same_open_file(self, first->get(), self, second->get()));
}

TEST_CASE("a file without contents is read as an empty text") {
  const auto text = sys::read_file("/dev/null");
  REQUIRE(text);
  CHECK(text->empty());
}
