// Paths that lead to something else than they are taken for.
#include "base/open.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "base/sys.h"

namespace stasis {

TEST_CASE("a path is opened only if it is what it is taken for") {
  char name[] = "/tmp/stasis-open.XXXXXX";
  REQUIRE(::mkdtemp(name) != nullptr);
  const std::string folder = name;
  const std::string fifo = folder + "/fifo", file = folder + "/file", link = folder + "/link";
  REQUIRE(::mkfifo(fifo.c_str(), 0600) == 0);
  REQUIRE(sys::open(file, O_WRONLY | O_CREAT, 0600));
  REQUIRE(::symlink("file", link.c_str()) == 0);
  const auto code = [](const std::string& path, int flags, mode_t type) {
    const auto fd = sys::open_of_type(path, flags, type);
    return fd ? 0 : fd.error().code;
  };
  CHECK(code(fifo, O_RDONLY, S_IFREG) == ESTALE);  // and does not wait for a writer
  CHECK(code(fifo, O_RDONLY | O_NOFOLLOW, S_IFREG) == ESTALE);
  CHECK(code("/dev/null", O_RDWR, S_IFREG) == ESTALE);
  CHECK(code(fifo, O_RDWR, S_IFIFO) == 0);
  CHECK(code(fifo, O_RDONLY | O_NONBLOCK, S_IFIFO) == 0);
  CHECK(code(file, O_RDWR, S_IFIFO) == ESTALE);
  CHECK(code(folder, O_RDONLY, S_IFIFO) == ESTALE);
  CHECK(code("/dev/null", O_RDWR, S_IFCHR) == 0);
  CHECK(code("/dev/null", O_RDWR | O_NOFOLLOW, S_IFCHR) == 0);
  CHECK(code("/dev/null", O_RDWR, S_IFBLK) == ESTALE);
  CHECK(code("/dev/null", O_RDWR, S_IFIFO) == ESTALE);
  CHECK(code(file, O_RDWR, S_IFCHR) == ESTALE);
  CHECK(code(fifo, O_RDWR, S_IFCHR) == ESTALE);  // and becomes no reader or writer of it
  CHECK(code(folder, O_RDONLY, S_IFREG) == ESTALE);
  CHECK(code(folder, O_RDONLY, S_IFDIR) == 0);
  CHECK(code(file, O_RDONLY, S_IFDIR) == ESTALE);
  CHECK(code(link, O_RDWR, S_IFREG) == 0);
  CHECK(code(link, O_RDWR | O_NOFOLLOW, S_IFREG) == ESTALE);  // it is a link
  CHECK(code(folder + "/none", O_RDONLY, S_IFREG) == ENOENT);
  const auto marked = sys::open_of_type(file, O_RDWR | O_NOFOLLOW, S_IFREG);
  REQUIRE(marked);
  CHECK((::fcntl(marked->get(), F_GETFL) & (O_NOFOLLOW | O_NONBLOCK | O_ACCMODE)) ==
        (O_NOFOLLOW | O_RDWR));
  for (const std::string& each : {fifo, file, link}) REQUIRE(::unlink(each.c_str()) == 0);
  REQUIRE(::rmdir(name) == 0);
}

}  // namespace stasis
