// What could not be opened again as it is open is refused beforehand, whatever its kind.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "resource/rights.h"
#include "round_trip.h"

using namespace stasis;
using namespace stasis::resource;

namespace {

// Root may open everything, so that it acts as another user meanwhile.
Acting as_ordinary_user() {
  constexpr u32 kNobody = 65534;
  if (::geteuid() != 0) return {};
  auto acting = Acting::as({.uid = kNobody, .gid = kNobody, .groups = {}, .capabilities = 0});
  REQUIRE(acting.ok());
  return std::move(acting).take_value();
}

std::string obstacles_of(Saved& saved) {
  const RestoreContext context{
      saved.image, saved.pages, {.ignore_changed_files = true, .drop_pipe_data = true}, {}, {}};
  std::string text;
  for (const Refusal& refusal : lasting_obstacles(context)) text += refusal.reason + "\n";
  return text;
}

// Of what `fd` has open at `path`, when its permissions are `mode` by now.
std::string after_chmod(UniqueFd fd, const std::string& path, mode_t mode) {
  auto saved = save({fd.get()});
  REQUIRE(saved.ok());
  CHECK(obstacles_of(*saved).empty());
  REQUIRE(::chmod(path.c_str(), mode) == 0);
  return obstacles_of(*saved);
}

}  // namespace

TEST_CASE("what lost the permissions that it was opened with is refused before it is needed") {
  const Acting acting = as_ordinary_user();
  const TemporaryDirectory directory;
  const auto denied = [&](const std::string& path) {
    return "cannot open " + path + ": Permission denied\n";
  };

  const std::string folder = directory.path("folder");
  REQUIRE(::mkdir(folder.c_str(), 0700) == 0);
  CHECK(after_chmod(must_open(folder, O_RDONLY | O_DIRECTORY), folder, 0) == denied(folder));
  REQUIRE(::chmod(folder.c_str(), 0700) == 0);
  CHECK(after_chmod(must_open(folder, O_PATH | O_DIRECTORY), folder, 0).empty());

  const std::string fifo = directory.path("fifo");
  REQUIRE(::mkfifo(fifo.c_str(), 0600) == 0);
  CHECK(after_chmod(must_open(fifo, O_RDWR), fifo, 0200) == denied("both ends of " + fifo));

  const std::string file = directory.path("file");
  write_file(file, "text");
  CHECK(after_chmod(must_open(file, O_RDONLY), file, 0200) == denied(file));
  REQUIRE(::chmod(file.c_str(), 0600) == 0);
  CHECK(after_chmod(must_open(file, O_WRONLY), file, 0400) == denied(file));
}

TEST_CASE("a file that is mapped shared and may become writable must be writable") {
  const Acting acting = as_ordinary_user();
  const TemporaryDirectory directory;
  const std::string path = directory.path("file");
  write_file(path, "text");
  Saved saved;
  auto file = describe_mapped_file(path, sys::stat(path)->st_ino);
  REQUIRE(file.ok());
  saved.image.resources.emplace_back(*file);
  model::Vma vma;
  vma.shared = true;
  vma.resource = 0;
  vma.protection = PROT_READ;
  saved.image.processes.emplace_back().memory.vmas.push_back(vma);
  REQUIRE(::chmod(path.c_str(), 0400) == 0);
  CHECK(obstacles_of(saved).empty());
  saved.image.processes[0].memory.vmas[0].flags = {"mr", "mw", "rd"};
  CHECK(obstacles_of(saved) == "cannot open " + path + ": Permission denied\n");
}
