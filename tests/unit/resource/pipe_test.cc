// Pipes, fifos, terminals, devices, and what is refused by name.
#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "resource/pipe_data.h"
#include "round_trip.h"

using namespace stasis;
using namespace stasis::resource;
using model::Pipe;

namespace {

struct Ends {
  UniqueFd read, write;
};

Ends make_pipe(int flags = 0) {
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC | flags) == 0);
  return {UniqueFd(ends[0]), UniqueFd(ends[1])};
}

std::vector<UniqueFd> list(Ends ends) {
  std::vector<UniqueFd> fds;
  fds.push_back(std::move(ends.read));
  fds.push_back(std::move(ends.write));
  return fds;
}

std::string take(int fd, size_t most = 100) {
  std::string text(most, '\0');
  const auto got = ::read(fd, text.data(), text.size());
  REQUIRE(got >= 0);
  text.resize(static_cast<size_t>(got));
  return text;
}

std::string error_of(const Result<Back>& back) {
  return back.ok() ? "" : back.error().message();
}

}  // namespace

TEST_CASE("looking into a pipe takes nothing out, and packets keep their edges") {
  const Ends pipe = make_pipe(O_DIRECT);
  REQUIRE(::write(pipe.write.get(), "one", 3) == 3);
  auto packets = peek_pipe(pipe.read.get());
  REQUIRE(packets.ok());
  CHECK(packets->size() == 2);  // a packet and the empty mark
  REQUIRE(::write(pipe.write.get(), "three", 5) == 5);
  packets = peek_pipe(pipe.read.get());
  REQUIRE(packets.ok());
  CHECK(packets->size() == 2);
  CHECK(packets->at(1).size() == 5);
  CHECK(take(pipe.read.get()) == "one");
  CHECK(take(pipe.read.get()) == "three");
}

TEST_CASE("a pipe keeps its data, size and flags") {
  Ends pipe = make_pipe(O_NONBLOCK);
  REQUIRE(::fcntl(pipe.write.get(), F_SETPIPE_SZ, 1 << 18) == 1 << 18);
  const std::string much(200'000, 'x');
  REQUIRE(::write(pipe.write.get(), much.data(), much.size()) == 200'000);
  const int reader = pipe.read.get();
  const auto twice = round_trip(list(std::move(pipe)));
  REQUIRE_MESSAGE(twice.ok(), twice.error().message());
  auto [before, after] = both<Pipe>(*twice);
  CHECK(!before.external);
  after.inode = before.inode;
  CHECK(before == after);
  CHECK(twice->first.image.open_files == twice->second.image.open_files);
  CHECK(take(reader, 300'000) == much);
}

TEST_CASE("packets stay packets, and a pipe ends when their writer is gone") {
  Ends pipe = make_pipe(O_DIRECT);
  REQUIRE(::write(pipe.write.get(), "a", 1) == 1);
  REQUIRE(::write(pipe.write.get(), "bc", 2) == 2);
  pipe.write.reset();
  std::vector<UniqueFd> fds;
  fds.push_back(std::move(pipe.read));
  const int number = fds[0].get();
  const auto twice = round_trip(std::move(fds));
  REQUIRE_MESSAGE(twice.ok(), twice.error().message());
  CHECK(take(number) == "a");
  CHECK(take(number) == "bc");
  CHECK(take(number).empty());  // end of file: nobody of ours kept the other end
}

TEST_CASE("a pipe to a program outside follows our own descriptors, and says what would be lost") {
  Ends pipe = make_pipe();
  const int number = pipe.read.get();
  REQUIRE(::write(pipe.write.get(), "lost?", 5) == 5);
  auto saved = save({number});
  REQUIRE(saved.ok());
  CHECK(std::get<Pipe>(saved->image.resources[0]).external);
  pipe.read.reset();
  CHECK(error_of(bring_back(*saved)).find("5 bytes from a program outside") != std::string::npos);
  const auto back = bring_back(*saved, {.drop_pipe_data = true});
  REQUIRE_MESSAGE(back.ok(), error_of(back));
  CHECK(*sys::same_open_file(::getpid(), number, ::getpid(), 0));
  CHECK(back->notes.size() == 1);
}

TEST_CASE("a fifo is opened by name, made if missing, and filled") {
  const TemporaryDirectory directory;
  const std::string path = directory.path("fifo");
  REQUIRE(::mkfifo(path.c_str(), 0640) == 0);
  UniqueFd both_ends = must_open(path, O_RDWR);
  UniqueFd writer = must_open(path, O_WRONLY | O_NONBLOCK);
  REQUIRE(::write(writer.get(), "hello", 5) == 5);
  const int number = both_ends.get();
  auto saved = save({number, writer.get()});
  REQUIRE(saved.ok());
  both_ends.reset();
  writer.reset();
  REQUIRE(::unlink(path.c_str()) == 0);
  auto back = bring_back(*saved);
  REQUIRE_MESSAGE(back.ok(), error_of(back));
  CHECK(take(number) == "hello");
  back->fds.clear();
  REQUIRE(::unlink(path.c_str()) == 0);
  write_file(path, "");
  CHECK(error_of(bring_back(*saved)).find("was a fifo and is a regular file now") !=
        std::string::npos);
}

TEST_CASE("harmless devices are opened again") {
  std::vector<UniqueFd> fds;
  fds.push_back(must_open("/dev/null", O_RDWR));
  fds.push_back(must_open("/dev/zero", O_RDONLY | O_NONBLOCK));
  const auto twice = round_trip(std::move(fds));
  REQUIRE_MESSAGE(twice.ok(), twice.error().message());
  CHECK(twice->first.image.resources == twice->second.image.resources);
  CHECK(twice->first.image.open_files == twice->second.image.open_files);
}

TEST_CASE("terminals follow descriptors by number, also where ours are not dups") {
  UniqueFd master(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
  REQUIRE(::unlockpt(master.get()) == 0);
  CHECK(refusal_of(master.get()).find("master of a pseudo-terminal") != std::string::npos);
  UniqueFd terminal = must_open(::ptsname(master.get()), O_RDWR | O_NOCTTY);
  auto saved = save({terminal.get()});
  REQUIRE(saved.ok());
  CHECK(std::holds_alternative<model::Terminal>(saved->image.resources[0]));
  // As if it had been descriptors 0 and 1 of the program.
  saved->image.processes[0].descriptors = {{0, false, 0}, {1, false, 0}};
  UniqueFd own = must_open("/dev/null", O_RDWR);
  const UniqueFd keep_in(::fcntl(0, F_DUPFD_CLOEXEC, 100));
  const UniqueFd keep_out(::fcntl(1, F_DUPFD_CLOEXEC, 100));
  UniqueFd other = must_open("/dev/null", O_RDWR);
  REQUIRE(::dup2(own.get(), 0) == 0);
  REQUIRE(::dup2(other.get(), 1) == 1);
  separate_followers(saved->image);
  RestoreContext context{saved->image, saved->pages, {}, {}, {}};
  const auto restored = create_open_files(context);
  const bool ok = restored.ok() && restored->open_files.size() == 2;
  const Pid self = ::getpid();
  const bool first = ok && *sys::same_open_file(self, restored->open_files[0].get(), self, 0);
  const bool second = ok && *sys::same_open_file(self, restored->open_files[1].get(), self, 1);
  REQUIRE(::dup2(keep_in.get(), 0) == 0);
  REQUIRE(::dup2(keep_out.get(), 1) == 1);
  CHECK(ok);
  CHECK(first);
  CHECK(second);
}

TEST_CASE("sockets and other kinds are refused by what they are") {
  const UniqueFd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  struct sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = ::htonl(INADDR_LOOPBACK);
  const void* start = &address;
  REQUIRE(::bind(listener.get(), static_cast<const sockaddr*>(start), sizeof address) == 0);
  REQUIRE(::listen(listener.get(), 1) == 0);
  CHECK(refusal_of(listener.get()).find("a listening TCP socket on 127.0.0.1:") == 0);
  int ends[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
  const UniqueFd a(ends[0]);
  const UniqueFd b(ends[1]);
  CHECK(refusal_of(a.get()).find("one end of a Unix stream socket pair") == 0);
  const auto visible = read_facts(::getpid(), -1, listener.get());
  REQUIRE(visible.ok());
  CHECK(refuse_unknown(*visible).reason.find("a TCP socket cannot") == 0);
  const UniqueFd space = must_open("/proc/self/ns/net", O_RDONLY);
  CHECK(refusal_of(space.get()).find("a namespace") == 0);
  const UniqueFd status = must_open("/proc/self/status", O_RDONLY);
  CHECK(refusal_of(status.get()).find("/proc about a process") != std::string::npos);
}
