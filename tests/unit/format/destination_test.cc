// Creation policies: what is there while writing, after commit, and after giving up.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "base/sys.h"
#include "format/destination.h"

namespace stasis::format {
namespace {

namespace fs = std::filesystem;

class Folder {
 public:
  Folder() {
    char name[] = "/tmp/stasis-destination-XXXXXX";
    path_ = ::mkdtemp(name);
  }
  ~Folder() { fs::remove_all(path_); }
  [[nodiscard]] std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  [[nodiscard]] std::vector<std::string> names() const {
    auto names = sys::list_directory(path_);
    return names ? *names : std::vector<std::string>{};
  }

 private:
  std::string path_;
};

using Names = std::vector<std::string>;

void put(const std::string& path, const std::string& text) {
  std::ofstream(path) << text;
}
std::string get(const std::string& path) {
  const auto text = sys::read_file(path);
  return text ? *text : "(none)";
}
void write(Destination& to, std::string_view text) {
  REQUIRE(sys::write_all(to.fd(), std::as_bytes(std::span(text))));
}
int mode_of(const std::string& path) {
  return static_cast<int>(sys::lstat(path).take_value().st_mode & 07777);
}
int code_of(const auto& result) {
  return result ? 0 : result.error().code;
}

constexpr auto kAllPolicies = {CreationPolicy::kAtomic, CreationPolicy::kBackup,
                               CreationPolicy::kClobber, CreationPolicy::kNoClobber};

}  // namespace

TEST_CASE("a new file is there, 0400, after commit; nothing is left after giving up") {
  for (const bool sync : {true, false}) {
    for (const CreationPolicy policy : kAllPolicies) {
      const Folder folder;
      const mode_t old_mask = ::umask(0777);
      {
        auto to = Destination::create(folder / "c", {.policy = policy, .sync = sync});
        REQUIRE(to);
        write(*to, "abc");
      }
      CHECK(folder.names().empty());
      auto to = Destination::create(folder / "c", {.policy = policy, .sync = sync});
      REQUIRE(to);
      Destination moved = std::move(*to);
      write(moved, "abc");
      CHECK(moved.commit());
      CHECK(folder.names() == Names{"c"});
      CHECK(mode_of(folder / "c") == 0400);
      ::umask(old_mask);
      if (::geteuid() == 0 || policy != CreationPolicy::kAtomic) CHECK(get(folder / "c") == "abc");
    }
  }
}

TEST_CASE("atomic: the old file stays until commit, then is replaced") {
  const Folder folder;
  put(folder / "c", "old");
  auto to = Destination::create(folder / "c", {});
  REQUIRE(to);
  CHECK(to->path() == folder / "c");
  write(*to, "new");
  CHECK(get(folder / "c") == "old");
  REQUIRE(to->commit());
  CHECK(get(folder / "c") == "new");
  CHECK(folder.names() == Names{"c"});
}

TEST_CASE("atomic: a foreign temporary name does not block, two writers do not meet") {
  const Folder folder;
  put(folder / ".c.tmp", "foreign");
  fs::create_directory(folder / ".c.tmp.d");
  auto to = Destination::create(folder / "c", {});
  REQUIRE(to);
  auto other = Destination::create(folder / "c", {});
  REQUIRE(other);
  write(*to, "one");
  write(*other, "two");
  REQUIRE(other->commit());
  CHECK(get(folder / "c") == "two");
  REQUIRE(to->commit());
  CHECK(get(folder / "c") == "one");
  CHECK(get(folder / ".c.tmp") == "foreign");
  CHECK(folder.names() == Names{".c.tmp", ".c.tmp.d", "c"});
}

TEST_CASE("the folder that was opened is written to, whatever has its name later") {
  const Folder folder;
  fs::create_directory(folder / "real");
  fs::create_directory(folder / "planted");
  put(folder / "planted/c", "precious");
  for (const CreationPolicy policy : kAllPolicies) {
    auto to = Destination::create(folder / "real/c", {.policy = policy});
    REQUIRE(to);
    fs::rename(folder / "real", folder / "moved");
    fs::create_directory_symlink(folder / "planted", folder / "real");
    write(*to, "new");
    REQUIRE(to->commit());
    CHECK(get(folder / "planted/c") == "precious");
    CHECK(get(folder / "moved/c") == "new");
    fs::remove(folder / "moved/c");
    fs::remove(folder / "real");
    fs::rename(folder / "moved", folder / "real");
  }
}

TEST_CASE("what another user put at the name is never written") {
  if (::geteuid() != 0) return;  // only root can play two users
  constexpr uid_t kStranger = 1002;
  const Folder folder;
  REQUIRE(::chmod((folder / ".").c_str(), 01777) == 0);
  for (const CreationPolicy policy : kAllPolicies) {
    const std::string fifo = folder / "f";
    REQUIRE(::mkfifo(fifo.c_str(), 0666) == 0);
    REQUIRE(::chown(fifo.c_str(), kStranger, kStranger) == 0);
    const auto reader = sys::open(fifo, O_RDONLY | O_NONBLOCK);
    REQUIRE(reader);
    CHECK(code_of(Destination::create(fifo, {.policy = policy})) == EPERM);
    fs::remove(fifo);
  }
  const std::string file = folder / "c";
  put(file, "theirs");
  REQUIRE(::chown(file.c_str(), kStranger, kStranger) == 0);
  const auto theirs = sys::open(file, O_RDONLY);
  REQUIRE(theirs);
  for (const CreationPolicy policy : {CreationPolicy::kAtomic, CreationPolicy::kClobber}) {
    auto to = Destination::create(file, {.policy = policy});
    REQUIRE(to);
    write(*to, "secret");
    REQUIRE(to->commit());
    CHECK(sys::lstat(file).take_value().st_uid == 0);
    std::byte got[8];
    CHECK(sys::pread_some(theirs->get(), got, 0).take_value() == 6);
    CHECK(std::memcmp(got, "theirs", 6) == 0);
  }
}

TEST_CASE("backup: numbers, and a name of one's own") {
  const Folder folder;
  const DestinationOptions numbered{.policy = CreationPolicy::kBackup};
  for (const std::string text : {"1", "2", "3"}) {
    auto to = Destination::create(folder / "c", numbered);
    REQUIRE(to);
    write(*to, text);
    REQUIRE(to->commit());
  }
  CHECK(folder.names() == Names{"c", "c.~1~", "c.~2~"});
  CHECK(get(folder / "c") == "3");
  CHECK(get(folder / "c.~1~") == "1");
  CHECK(get(folder / "c.~2~") == "2");
  auto to = Destination::create(
      folder / "c", {.policy = CreationPolicy::kBackup, .backup_name = folder / "keep"});
  REQUIRE(to);
  write(*to, "4");
  REQUIRE(to->commit());
  CHECK(get(folder / "keep") == "3");
  CHECK(get(folder / "c") == "4");
}

TEST_CASE(
    "clobber: the file itself is written; one with another name or that may not be is replaced") {
  const Folder folder;
  put(folder / "c", "old and longer");
  ::chmod((folder / "c").c_str(), 0644);
  const u64 inode = sys::lstat(folder / "c").take_value().st_ino;
  auto to = Destination::create(folder / "c", {.policy = CreationPolicy::kClobber});
  REQUIRE(to);
  write(*to, "new");
  REQUIRE(to->commit());
  CHECK(sys::lstat(folder / "c").take_value().st_ino == inode);
  CHECK(mode_of(folder / "c") == 0400);
  fs::create_hard_link(folder / "c", folder / "link");
  auto again = Destination::create(folder / "c", {.policy = CreationPolicy::kClobber});
  REQUIRE(again);
  REQUIRE(again->commit());
  CHECK(sys::lstat(folder / "link").take_value().st_ino == inode);
  CHECK(sys::lstat(folder / "link").take_value().st_size == 3);
  CHECK(sys::lstat(folder / "c").take_value().st_size == 0);
}

TEST_CASE("noclobber: EEXIST") {
  const Folder folder;
  put(folder / "c", "old");
  CHECK(code_of(Destination::create(folder / "c", {.policy = CreationPolicy::kNoClobber})) ==
        EEXIST);
  CHECK(get(folder / "c") == "old");
}

TEST_CASE("directories, devices, missing folders") {
  const Folder folder;
  fs::create_directory(folder / "d");
  fs::create_directory_symlink(folder / "d", folder / "link");
  for (const CreationPolicy policy : kAllPolicies) {
    CHECK(code_of(Destination::create(folder / "d", {.policy = policy})) == EISDIR);
    CHECK(code_of(Destination::create(folder / "link", {.policy = policy})) == EISDIR);
    CHECK(code_of(Destination::create("/dev/null", {.policy = policy})) == EINVAL);
    CHECK(code_of(Destination::create(folder / "no/c", {.policy = policy})) == ENOENT);
  }
}

TEST_CASE("links are not followed") {
  const Folder folder;
  put(folder / "real", "old");
  fs::create_symlink("real", folder / "c");
  CHECK(code_of(Destination::create(folder / "c", {.policy = CreationPolicy::kNoClobber})) ==
        EEXIST);
  CHECK(code_of(Destination::create(folder / "c", {.policy = CreationPolicy::kClobber})) == ELOOP);
  fs::create_symlink("real", folder / ".c.tmp");
  auto to = Destination::create(folder / "c", {});
  REQUIRE(to);
  write(*to, "new");
  REQUIRE(to->commit());
  CHECK(get(folder / "real") == "old");
  CHECK(get(folder / "c") == "new");
}

TEST_CASE("a fifo is written to as it is") {
  const Folder folder;
  REQUIRE(::mkfifo((folder / "f").c_str(), 0600) == 0);
  CHECK(code_of(Destination::create(folder / "f", {})) == ENXIO);  // nobody reads
  const auto reader = sys::open(folder / "f", O_RDONLY | O_NONBLOCK);
  REQUIRE(reader);
  {
    auto to = Destination::create(folder / "f", {});
    REQUIRE(to);
    write(*to, "abc");
    REQUIRE(to->commit());
  }
  std::byte got[4];
  CHECK(sys::read_some(reader->get(), got).take_value() == 3);
  CHECK(folder.names() == Names{"f"});
}

TEST_CASE("an adopted descriptor is only written to and synced") {
  const Folder folder;
  put(folder / "c", "");
  auto to = Destination::adopt(sys::open(folder / "c", O_WRONLY).take_value());
  CHECK(to.path().empty());
  write(to, "abc");
  REQUIRE(to.commit());
  CHECK(get(folder / "c") == "abc");
}

}  // namespace stasis::format
