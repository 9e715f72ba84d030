// Whose rights a resource is opened with, and that acting as somebody ends.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/sys.h"
#include "resource/rights.h"

namespace stasis::resource {
namespace {

constexpr u32 kAlice = 1001, kBob = 1002;

void add_process(model::Image& image, u32 uid, std::vector<model::OpenFileIndex> files) {
  model::Process& process = image.processes.emplace_back();
  process.credentials = {.uids = {uid, uid, uid, uid}, .gids = {uid, uid, uid, uid}, .groups = {}};
  for (const model::OpenFileIndex file : files) {
    process.descriptors.push_back({.number = static_cast<i32>(file), .open_file = file});
  }
}

model::Image server() {
  model::Image image;
  for (model::ResourceIndex i = 0; i < 4; ++i) {
    image.resources.emplace_back(model::RegularFile{.path = "/nowhere/file"});
    image.open_files.push_back({.resource = i});
  }
  add_process(image, 0, {0, 1, 2});
  add_process(image, kAlice, {1, 2, 3});
  add_process(image, kBob, {2});
  return image;
}

std::vector<u32> users(const std::vector<Identity>& all) {
  std::vector<u32> ids;
  for (const Identity& each : all) ids.push_back(each.uid);
  return ids;
}

}  // namespace

TEST_CASE("a resource is opened with the rights of the least privileged holder") {
  const Identity root{.uid = 0, .gid = 0, .groups = {}, .capabilities = 7};
  const Rights rights = rights_of(server(), root, true, true);
  CHECK(users(rights.resources[0]) == std::vector<u32>{0});
  CHECK(users(rights.resources[1]) == std::vector<u32>{kAlice});
  CHECK(users(rights.resources[2]) == std::vector<u32>{kAlice, kBob});
  CHECK(users(rights.resources[3]) == std::vector<u32>{kAlice});
  CHECK(rights.resources[1].front().capabilities == 0);
  CHECK(rights.only() == nullptr);
}

TEST_CASE("what root's image holds for others than its owner is made by root") {
  const Identity root{.uid = 0, .gid = 0, .groups = {}, .capabilities = 7};
  const auto by_root = [&](u32 owner, bool content, bool trusted) {
    model::Image image = server();
    for (model::Resource& each : image.resources) {
      auto& file = std::get<model::RegularFile>(each);
      file.identity.uid = owner;
      if (content) file.content = 0;
    }
    const Rights rights = rights_of(image, root, true, trusted);
    std::vector<bool> all;
    for (size_t i = 0; i < image.resources.size(); ++i) {
      all.push_back(rights.making_of(i).by_root);
    }
    return all;
  };
  // Held by root, root and Alice, all three, Alice.
  CHECK(by_root(0, true, true) == std::vector{false, true, true, true});
  CHECK(by_root(kAlice, true, true) == std::vector{false, false, true, false});
  CHECK(by_root(model::kUnknownId, true, true) == std::vector{false, true, true, true});
  CHECK(by_root(0, false, true) == std::vector<bool>(4));
  CHECK(by_root(0, true, false) == std::vector<bool>(4));
  const Rights rights = rights_of(server(), root, true, true);
  CHECK_FALSE(rights.making_of(0).several_users);
  CHECK(rights.making_of(1).several_users);
  CHECK_FALSE(rights.making_of(3).several_users);
}

TEST_CASE("an ordinary user opens everything with his own rights") {
  const Identity alice{.uid = kAlice, .gid = kAlice, .groups = {5}, .capabilities = 0};
  const Rights rights = rights_of(server(), alice, true, true);
  for (const auto& each : rights.resources) CHECK(each == std::vector<Identity>{alice});
  REQUIRE(rights.only() != nullptr);
}

TEST_CASE("only what root alone can replace is root's alone") {
  const auto status = sys::stat("/etc/passwd");
  REQUIRE(status);
  const auto folder = sys::stat("/etc"), root = sys::stat("/");
  REQUIRE(folder);
  REQUIRE(root);
  const auto others_may = [](const struct stat& each) {
    return each.st_uid != 0 || (each.st_mode & 022) != 0;
  };
  // The guests of scripts/test-kernels have an /etc that is not root's.
  if (others_may(*status) || others_may(*folder) || others_may(*root)) return;
  CHECK(is_roots_alone("/etc/passwd", status->st_dev, status->st_ino));
  CHECK_FALSE(is_roots_alone("/etc/passwd", status->st_dev, status->st_ino + 1));
  CHECK_FALSE(is_roots_alone("/tmp/../etc/passwd", status->st_dev, status->st_ino));
  CHECK_FALSE(is_roots_alone("etc/passwd", status->st_dev, status->st_ino));
}

TEST_CASE("acting as a user opens nothing of root's, and ends") {
  if (::geteuid() != 0) return;  // only root can become somebody
  const auto before = own_identity();
  REQUIRE(before);
  {
    const Identity alice{.uid = kAlice, .gid = kAlice, .groups = {}, .capabilities = 0};
    const auto acting = Acting::as(alice);
    if (!acting) return;  // a container's root that may not
    CHECK(own_identity().take_value() == alice);
    CHECK(::getuid() == 0);
    CHECK_FALSE(sys::open("/etc/shadow", O_RDONLY));
    CHECK_FALSE(sys::open("/proc/sys/kernel/core_pattern", O_WRONLY));
    {
      const auto bob = Acting::as({.uid = kBob, .gid = kBob, .groups = {7}, .capabilities = 0});
      REQUIRE(bob);
      CHECK(::geteuid() == kBob);
    }
    CHECK(own_identity().take_value() == alice);
  }
  CHECK(own_identity().take_value() == *before);
}

}  // namespace stasis::resource
