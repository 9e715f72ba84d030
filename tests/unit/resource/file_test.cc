// Regular files and directories: by path, carried, changed, locked, relocated.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>

#include <csignal>

#include "round_trip.h"

using namespace stasis;
using namespace stasis::resource;
using model::RegularFile;

namespace {

std::vector<UniqueFd> list(UniqueFd first, UniqueFd second = UniqueFd()) {
  std::vector<UniqueFd> fds;
  fds.push_back(std::move(first));
  if (second) fds.push_back(std::move(second));
  return fds;
}

std::string error_of(const Result<Back>& back) {
  return back.ok() ? "" : back.error().message();
}

}  // namespace

TEST_CASE("a log keeps its offset and flags, and is cut back to its saved size") {
  const TemporaryDirectory directory;
  const std::string path = directory.path("log");
  write_file(path, "first\n");
  UniqueFd fd = must_open(path, O_RDWR | O_APPEND);
  REQUIRE(::lseek(fd.get(), 3, SEEK_SET) == 3);
  const int number = fd.get();
  auto saved = save({number});
  REQUIRE(saved.ok());
  REQUIRE(::write(number, "second\n", 7) == 7);
  fd.reset();
  auto kept = bring_back(*saved, {.file_size = FileSizePolicy::kKeep});
  REQUIRE_MESSAGE(kept.ok(), error_of(kept));
  CHECK(read_all(number) == "first\nsecond\n");
  kept->fds.clear();
  auto back = bring_back(*saved);
  REQUIRE_MESSAGE(back.ok(), error_of(back));
  CHECK(read_all(number) == "first\n");
  CHECK(::lseek(number, 0, SEEK_CUR) == 3);
  CHECK((::fcntl(number, F_GETFL) & (O_APPEND | O_ACCMODE)) == (O_APPEND | O_RDWR));
}

TEST_CASE("files that are missing, shorter, changed or of another type are refused by name") {
  const TemporaryDirectory directory;
  const std::string path = directory.path("data");
  write_file(path, "0123456789");
  UniqueFd fd = must_open(path, O_RDONLY);
  UniqueFd writer = must_open(path, O_WRONLY);
  const int number = fd.get();
  auto read_only = save({number});
  auto written = save({writer.get()});
  fd.reset();
  writer.reset();

  write_file(path, "0123");
  CHECK(error_of(bring_back(*written)).find("shorter than it was (4 bytes, 10") !=
        std::string::npos);
  CHECK(error_of(bring_back(*read_only)).find("had 10 bytes and has 4") != std::string::npos);
  CHECK(bring_back(*read_only, {.ignore_changed_files = true}).ok());
  REQUIRE(::unlink(path.c_str()) == 0);
  CHECK(error_of(bring_back(*written)).find("No such file or directory") != std::string::npos);
  REQUIRE(::mkdir(path.c_str(), 0700) == 0);
  CHECK(error_of(bring_back(*written)).find("is a directory now") != std::string::npos);
}

TEST_CASE("a deleted file comes back with its content, name, mode and sharing") {
  const TemporaryDirectory directory;
  const std::string path = directory.path("gone");
  UniqueFd fd = must_open(path, O_RDWR | O_CREAT, 0400);
  UniqueFd reader = must_open(path, O_RDONLY);
  const int number = fd.get();
  const int second = reader.get();
  REQUIRE(::write(number, "kept", 4) == 4);
  REQUIRE(::unlink(path.c_str()) == 0);
  const auto twice = round_trip(list(std::move(fd), std::move(reader)));
  REQUIRE_MESSAGE(twice.ok(), twice.error().message());
  const auto [before, after] = both<RegularFile>(*twice);
  CHECK(before.content.has_value());
  CHECK(after.path == path);
  CHECK(after.deleted);
  CHECK(after.identity.mode == before.identity.mode);
  CHECK(after.identity.mtime_ns == before.identity.mtime_ns);
  CHECK(twice->second.image.resources.size() == 1);
  CHECK(twice->first.image.open_files == twice->second.image.open_files);
  REQUIRE(::pwrite(number, "K", 1, 0) == 1);
  CHECK(read_all(second) == "Kept");
  CHECK(::access(path.c_str(), F_OK) != 0);
}

TEST_CASE("an O_TMPFILE file keeps its kind; where its directory is gone it moves and says so") {
  const TemporaryDirectory directory;
  UniqueFd fd = must_open(directory.path(), O_TMPFILE | O_RDWR);
  const int number = fd.get();
  REQUIRE(::ftruncate(number, 1 << 20) == 0);
  REQUIRE(::pwrite(number, "end", 3, (1 << 20) - 3) == 3);
  const auto twice = round_trip(list(std::move(fd)));
  REQUIRE_MESSAGE(twice.ok(), twice.error().message());
  CHECK(both<RegularFile>(*twice).second.linkable);
  CHECK(twice->first.image.open_files == twice->second.image.open_files);
  CHECK(::lseek(number, 0, SEEK_END) == 1 << 20);

  auto saved = save({number});
  std::get<RegularFile>(saved->image.resources[0]).path = "/nonexistent/dir/#1";
  const auto moved = bring_back(*saved);
  REQUIRE_MESSAGE(moved.ok(), error_of(moved));
  CHECK(moved->notes.size() == 1);
}

TEST_CASE("a file renamed away under a hard link is found under its other name") {
  const TemporaryDirectory directory;
  write_file(directory.path("old"), "x");
  const UniqueFd fd = must_open(directory.path("old"), O_RDWR);
  REQUIRE(::link(directory.path("old").c_str(), directory.path("new").c_str()) == 0);
  REQUIRE(::unlink(directory.path("old").c_str()) == 0);
  const auto saved = save({fd.get()});
  REQUIRE(saved.ok());
  CHECK(std::get<RegularFile>(saved->image.resources[0]).path == directory.path("new"));
  CHECK(refusal_of(fd.get()) == "");
  REQUIRE(::mkdir(directory.path("sub").c_str(), 0700) == 0);
  REQUIRE(::rename(directory.path("new").c_str(), directory.path("sub/x").c_str()) == 0);
  CHECK(refusal_of(fd.get()) == "");
  REQUIRE(::mkdir(directory.path("sub/sub").c_str(), 0700) == 0);
  REQUIRE(::rename(directory.path("sub/x").c_str(), directory.path("sub/sub/x").c_str()) == 0);
  CHECK(refusal_of(fd.get()).find("has another one that cannot be found") != std::string::npos);
}

TEST_CASE("dups stay dups, separate opens stay separate, O_PATH stays O_PATH") {
  const TemporaryDirectory directory;
  const std::string path = directory.path("shared");
  write_file(path, "0123456789");
  std::vector<UniqueFd> fds;
  fds.push_back(must_open(path, O_RDWR));
  fds.push_back(std::move(sys::duplicate(fds[0].get())).take_value());
  fds.push_back(must_open(path, O_RDONLY | O_NONBLOCK));
  fds.push_back(must_open(path, O_PATH));
  const int a = fds[0].get();
  const int b = fds[1].get();
  const int c = fds[2].get();
  const auto twice = round_trip(std::move(fds));
  REQUIRE_MESSAGE(twice.ok(), twice.error().message());
  CHECK(twice->first.image.open_files == twice->second.image.open_files);
  CHECK(twice->first.image.resources == twice->second.image.resources);
  REQUIRE(::lseek(a, 5, SEEK_SET) == 5);
  CHECK(::lseek(b, 0, SEEK_CUR) == 5);
  CHECK(::lseek(c, 0, SEEK_CUR) == 0);
}

TEST_CASE("flock and OFD locks come back; one that somebody took since is an error") {
  const TemporaryDirectory directory;
  const std::string path = directory.path("locked");
  write_file(path, "0123456789");
  UniqueFd fd = must_open(path, O_RDWR);
  REQUIRE(::flock(fd.get(), LOCK_EX) == 0);
  struct flock range = {};
  range.l_type = F_WRLCK;
  range.l_start = 7;
  REQUIRE(::fcntl(fd.get(), F_OFD_SETLK, &range) == 0);
  auto saved = save({fd.get()});
  const auto twice = round_trip(list(std::move(fd)));
  REQUIRE_MESSAGE(twice.ok(), twice.error().message());
  CHECK(twice->first.image.open_files[0].locks.size() == 2);
  CHECK(twice->first.image.open_files == twice->second.image.open_files);
  const auto conflict = bring_back(*saved);  // the first restart still holds them
  CHECK(error_of(conflict).find("lock is held by somebody else") != std::string::npos);
}

TEST_CASE("a process takes its POSIX locks itself") {
  // Hand-made: closing a duplicate of our own descriptor, as saving does, drops them here.
  const TemporaryDirectory directory;
  write_file(directory.path("locked"), "0123456789");
  UniqueFd fd = must_open(directory.path("locked"), O_RDWR);
  const int number = fd.get();
  auto saved = save({number});
  saved->image.open_files[0].locks = {{"POSIX", true, ::getpid(), 2, 4}};
  fd.reset();
  const auto back = bring_back(*saved);
  REQUIRE_MESSAGE(back.ok(), error_of(back));
  const auto info = proc::read_fdinfo(::getpid(), number);
  REQUIRE(info.ok());
  REQUIRE(info->locks.size() == 1);
  CHECK(info->locks[0].type == "POSIX");
  CHECK(info->locks[0].exclusive);
  CHECK(info->locks[0].start == 2);
  CHECK(info->locks[0].end == 4);
}

TEST_CASE("owner and signal of an open file come back") {
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  const struct f_owner_ex owner = {F_OWNER_PID, ::getpid()};
  REQUIRE(::fcntl(ends[0], F_SETOWN_EX, &owner) == 0);
  REQUIRE(::fcntl(ends[0], F_SETSIG, SIGURG) == 0);
  REQUIRE(::fcntl(ends[0], F_SETFL, O_ASYNC) == 0);
  const auto twice = round_trip(list(UniqueFd(ends[0]), UniqueFd(ends[1])));
  REQUIRE_MESSAGE(twice.ok(), twice.error().message());
  CHECK(twice->first.image.open_files[0].signal == SIGURG);
  CHECK(twice->first.image.open_files == twice->second.image.open_files);
}

TEST_CASE("directories keep their position; removed ones are removed again") {
  const TemporaryDirectory directory;
  for (const char* name : {"a", "b", "c"}) write_file(directory.path(name), "");
  UniqueFd fd = must_open(directory.path(), O_RDONLY | O_DIRECTORY);
  std::vector<std::byte> entries(60);
  REQUIRE(*sys::raw("list", "it", SYS_getdents64, fd.get(), entries.data(), entries.size()) > 0);
  REQUIRE(::mkdir(directory.path("gone").c_str(), 0700) == 0);
  UniqueFd gone = must_open(directory.path("gone"), O_RDONLY);
  REQUIRE(::rmdir(directory.path("gone").c_str()) == 0);
  const auto twice = round_trip(list(std::move(fd), std::move(gone)));
  REQUIRE_MESSAGE(twice.ok(), twice.error().message());
  CHECK(twice->first.image.open_files == twice->second.image.open_files);
  CHECK(twice->first.image.open_files[0].offset != 0);
  CHECK(both<model::Directory>(*twice, 1).second.deleted);
}

TEST_CASE("relocation moves whole leading components, the first match wins") {
  const model::Image image;
  MemoryPages pages;
  const RestoreContext context{
      image, pages, {.relocations = {{"/a/b", "/x"}, {"/a", "/y/"}}}, {}, {}};
  CHECK(context.relocate("/a/b/c") == "/x/c");
  CHECK(context.relocate("/a/bc") == "/y/bc");
  CHECK(context.relocate("/a") == "/y");
  CHECK(context.relocate("/other") == "/other");
}

TEST_CASE("the root directory is relocated without a slash at its end") {
  const model::Image image;
  MemoryPages pages;
  const RestoreContext context{image, pages, {.relocations = {{"/", "/new"}}}, {}, {}};
  CHECK(context.relocate("/") == "/new");
  CHECK(context.relocate("/a") == "/new/a");
}

TEST_CASE("the same program by build-id is accepted though its time changed; another is not") {
  Saved saved;
  auto file = describe_mapped_file("/proc/self/exe", sys::stat("/proc/self/exe")->st_ino);
  REQUIRE(file.ok());
  REQUIRE(file->identity.build_id.size() >= 16);
  file->path = *sys::read_link("/proc/self/exe");
  file->identity.mtime_ns -= 1;
  saved.image.processes.emplace_back();
  model::Vma vma;
  vma.resource = 0;
  saved.image.processes[0].memory.vmas.push_back(vma);
  saved.image.resources.push_back(*file);
  RestoreContext context{saved.image, saved.pages, {}, {}, {}};
  CHECK(restore_obstacles(context).empty());
  const auto fd = mapping_descriptor(0, false, context);
  REQUIRE(fd.ok());
  CHECK(*mapping_descriptor(0, false, context) == *fd);
  std::get<RegularFile>(saved.image.resources[0]).identity.build_id[0] ^= 1;
  const auto refused = restore_obstacles(context);
  REQUIRE(refused.size() == 1);
  CHECK(refused[0].reason.find("last changed") != std::string::npos);
}

TEST_CASE("memfds keep name, content, seals and mode, and can be mapped") {
  UniqueFd fd(::memfd_create("queue", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  REQUIRE(::write(fd.get(), "abc", 3) == 3);
  REQUIRE(::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) == 0);
  const int number = fd.get();
  UniqueFd second = must_open("/proc/self/fd/" + std::to_string(number), O_RDONLY);
  const auto twice = round_trip(list(std::move(fd), std::move(second)));
  REQUIRE_MESSAGE(twice.ok(), twice.error().message());
  auto [before, after] = both<model::Memfd>(*twice);
  CHECK(before.seals == (F_SEAL_SHRINK | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL));
  after.inode = before.inode;
  CHECK(before == after);
  CHECK(twice->first.image.open_files == twice->second.image.open_files);
  CHECK(read_all(number) == "abc");

  RestoreContext context{
      twice->first.image, const_cast<MemoryPages&>(twice->first.pages), {}, {}, {}};
  const auto mapped = mapping_descriptor(0, true, context);  // before sealing: may be written
  REQUIRE_MESSAGE(mapped.ok(), mapped.error().message());
  CHECK(::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, *mapped, 0) != MAP_FAILED);
}
