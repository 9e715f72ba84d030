// engine/own_file: neither the context file itself nor our end of a handle is what a restarted
// program gets.
#include "engine/own_file.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/sysmacros.h>

using namespace stasis;

namespace {

constexpr u64 kDevice = 7, kInode = 42;

struct stat regular_file() {
  struct stat status = {};
  status.st_dev = kDevice;
  status.st_ino = kInode;
  status.st_mode = S_IFREG | 0400;
  return status;
}

model::RegularFile file(u64 inode) {
  model::RegularFile found;
  found.path = "/somewhere/job.ctx";
  found.identity.device = kDevice;
  found.identity.inode = inode;
  return found;
}

model::Image image_with_two_files() {
  model::Image image;
  image.resources = {file(kInode), file(kInode + 1)};
  image.open_files = {{.resource = 0, .flags = O_WRONLY | O_APPEND, .offset = 100},
                      {.resource = 1, .flags = O_WRONLY | O_APPEND, .offset = 100}};
  return image;
}

}  // namespace

TEST_CASE("the context file becomes /dev/null, other files stay") {
  model::Image image = image_with_two_files();
  engine::set_aside(image, regular_file());
  CHECK(image.resources[0] == model::Resource(model::Device{"/dev/null", makedev(1, 3)}));
  CHECK(image.open_files[0] == model::OpenFile{.resource = 0, .flags = O_WRONLY});
  CHECK(image.resources[1] == model::Resource(file(kInode + 1)));
  CHECK(image.open_files[1].offset == 100);
}

TEST_CASE("a pipe as destination changes nothing") {
  model::Image image = image_with_two_files();
  struct stat pipe = regular_file();
  pipe.st_mode = S_IFIFO;
  engine::set_aside(image, pipe);
  CHECK(image == image_with_two_files());
}

TEST_CASE("a mapped file stays what it is") {
  model::Image image = image_with_two_files();
  image.processes.emplace_back().memory.vmas.push_back(
      {.kind = model::VmaKind::kFile, .resource = 0});
  const model::Image before = image;
  engine::set_aside(image, regular_file());
  CHECK(image == before);
}

TEST_CASE("a handle becomes an eventfd that is readable, other pipes stay") {
  model::Image image;
  image.resources = {model::Pipe{.inode = 5}, model::Pipe{.inode = 6}};
  image.open_files = {{.resource = 0}, {.resource = 1}};
  const std::vector<u64> handles = {6, 7};
  engine::replace_handles(image, handles);
  CHECK(image.resources[0] == model::Resource(model::Pipe{.inode = 5}));
  CHECK(image.resources[1] == model::Resource(model::EventFd{.count = 1}));
  CHECK(image.open_files[1].flags == O_RDWR);
}
