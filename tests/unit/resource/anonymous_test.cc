// eventfd, timerfd, signalfd, epoll, inotify, pidfd.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <csignal>

#include "round_trip.h"

using namespace stasis;
using namespace stasis::resource;

namespace {

template <class... Fds>
std::vector<UniqueFd> list(Fds... fds) {
  std::vector<UniqueFd> all;
  (all.push_back(std::move(fds)), ...);
  return all;
}

constexpr u64 kHuge = 5'000'000'000;

bool is_ready(int fd) {
  struct pollfd query = {fd, POLLIN, 0};
  return ::poll(&query, 1, 0) == 1;
}

u64 read_number(int fd) {
  u64 value = 0;
  REQUIRE(::read(fd, &value, sizeof value) == sizeof value);
  return value;
}

}  // namespace

TEST_CASE("eventfds keep count and kind") {
  UniqueFd large(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  REQUIRE(::write(large.get(), &kHuge, sizeof kHuge) == sizeof kHuge);
  UniqueFd semaphore(::eventfd(3, EFD_CLOEXEC | EFD_SEMAPHORE));
  const auto twice = round_trip(list(std::move(large), std::move(semaphore)));
  REQUIRE_MESSAGE(twice.ok(), twice.error().message());
  CHECK(both<model::EventFd>(*twice, 0).first.count == kHuge);
  CHECK(both<model::EventFd>(*twice, 1).first.semaphore);
  CHECK(twice->first.image.resources == twice->second.image.resources);
  CHECK(twice->first.image.open_files == twice->second.image.open_files);
}

TEST_CASE("where the kernel does not tell, an eventfd is asked and keeps its count") {
  for (const unsigned count : {0U, 1U, 2U, 7U}) {
    for (const int kind : {0, int{EFD_SEMAPHORE}}) {
      const UniqueFd fd(::eventfd(count, EFD_CLOEXEC | kind));
      FdFacts facts = facts_of(fd.get());
      facts.info.eventfd_semaphore = -1;
      model::Image image;
      MemoryPages pages;
      FakeCapture capture(image, pages);
      const auto event = handler_for(facts)->capture(facts, capture);
      REQUIRE_MESSAGE(event.ok(), event.error().message());
      CHECK(std::get<model::EventFd>(*event).semaphore == (kind != 0));
      CHECK(facts_of(fd.get()).info.eventfd_count == count);
    }
  }
}

TEST_CASE("signalfds keep their mask") {
  sigset_t signals;
  ::sigemptyset(&signals);
  ::sigaddset(&signals, SIGUSR1);
  ::sigaddset(&signals, SIGRTMAX);
  UniqueFd fd(::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
  const auto twice = round_trip(list(std::move(fd)));
  REQUIRE_MESSAGE(twice.ok(), twice.error().message());
  CHECK(both<model::SignalFd>(*twice).first.mask == ((u64{1} << (SIGUSR1 - 1)) | (u64{1} << 63)));
  CHECK(twice->first.image.resources == twice->second.image.resources);
  CHECK(twice->first.image.open_files == twice->second.image.open_files);
}

TEST_CASE("timers keep time left, point in time, period and unread expirations") {
  UniqueFd relative(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC));
  struct itimerspec setting = {{7, 0}, {1000, 0}};
  REQUIRE(::timerfd_settime(relative.get(), 0, &setting, nullptr) == 0);
  UniqueFd absolute(::timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC));
  struct timespec now = {};
  ::clock_gettime(CLOCK_REALTIME, &now);
  setting = {{0, 0}, {now.tv_sec + 1000, 5}};
  REQUIRE(::timerfd_settime(absolute.get(), TFD_TIMER_ABSTIME, &setting, nullptr) == 0);
  UniqueFd expired(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC));
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  setting = {{3600, 0}, {1, 0}};  // a second after the clock began: expired once an hour since
  REQUIRE(::timerfd_settime(expired.get(), TFD_TIMER_ABSTIME, &setting, nullptr) == 0);
  const int number = expired.get();
  const auto twice = round_trip(list(std::move(relative), std::move(absolute), std::move(expired)));
  REQUIRE_MESSAGE(twice.ok(), twice.error().message());
  const auto [before, after] = both<model::TimerFd>(*twice, 0);
  CHECK(before.interval_ns == 7'000'000'000);
  CHECK(after.value_ns <= before.value_ns);
  CHECK(after.value_ns > 900'000'000'000);
  const auto [set, again] = both<model::TimerFd>(*twice, 1);
  CHECK(again.settime_flags == TFD_TIMER_ABSTIME);
  const i64 drift = (set.captured_ns + set.value_ns) - (again.captured_ns + again.value_ns);
  CHECK(std::abs(drift) < 1'000'000'000);
  const auto [old, fresh] = both<model::TimerFd>(*twice, 2);
  CHECK(old.ticks == static_cast<u64>(now.tv_sec - 1) / 3600 + 1);
  CHECK(fresh.ticks == old.ticks);
  CHECK(fresh.value_ns > 0);
  CHECK(read_number(number) == old.ticks);
}

TEST_CASE("a periodic timer caught at the moment of expiring goes on") {
  UniqueFd fd(::timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC));
  const int number = fd.get();
  auto saved = save({number});
  REQUIRE(saved.ok());
  auto& timer = std::get<model::TimerFd>(saved->image.resources[0]);
  timer.ticks = 6;
  timer.interval_ns = 1'000'000;
  fd.reset();
  const auto back = bring_back(*saved);
  REQUIRE_MESSAGE(back.ok(), back.error().message());
  CHECK(read_number(number) >= 6);
  struct pollfd query = {number, POLLIN, 0};
  CHECK(::poll(&query, 1, 10'000) == 1);
}

TEST_CASE("epoll items keep events and data, also under a number that means something else now") {
  UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  UniqueFd ready(::eventfd(1, EFD_CLOEXEC));
  UniqueFd moved(::eventfd(2, EFD_CLOEXEC));
  struct epoll_event event = {};
  event.events = EPOLLIN | EPOLLET;
  event.data.u64 = 0x1122334455667788;
  REQUIRE(::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, ready.get(), &event) == 0);
  event.events = EPOLLIN | EPOLLONESHOT;
  event.data.u64 = 42;
  REQUIRE(::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, moved.get(), &event) == 0);
  // The number goes to the other file; the open file lives on under a new number.
  UniqueFd elsewhere = std::move(sys::duplicate(moved.get())).take_value();
  REQUIRE(::dup3(ready.get(), moved.get(), O_CLOEXEC) == moved.get());
  const int number = epoll.get();
  const auto twice =
      round_trip(list(std::move(epoll), std::move(ready), std::move(moved), std::move(elsewhere)));
  REQUIRE_MESSAGE(twice.ok(), twice.error().message());
  auto [before, after] = both<model::Epoll>(*twice);
  REQUIRE(before.items.size() == 2);
  const auto by_data = [](const model::EpollItem& a, const model::EpollItem& b) {
    return a.data < b.data;
  };
  std::sort(before.items.begin(), before.items.end(), by_data);
  std::sort(after.items.begin(), after.items.end(), by_data);
  CHECK(before == after);
  struct epoll_event out[4];
  CHECK(::epoll_wait(number, out, 4, 0) == 2);
}

TEST_CASE("a one-shot item that has fired stays silent, where its file can be made to fire") {
  UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  UniqueFd counter(::eventfd(1, EFD_CLOEXEC));
  UniqueFd timer(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC));
  struct epoll_event event = {};
  event.events = EPOLLIN | EPOLLONESHOT;
  event.data.u64 = 1;
  REQUIRE(::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, counter.get(), &event) == 0);
  REQUIRE(::epoll_wait(epoll.get(), &event, 1, 0) == 1);
  event.events = EPOLLONESHOT;  // never ready: stays armed for errors
  event.data.u64 = 2;
  REQUIRE(::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, timer.get(), &event) == 0);
  const int number = epoll.get();
  auto saved = save({number, counter.get(), timer.get()});
  REQUIRE(saved.ok());
  auto& items = std::get<model::Epoll>(saved->image.resources[0]).items;
  REQUIRE(items.size() == 2);
  CHECK(items[0].events == EPOLLONESHOT);
  items[1].events = EPOLLONESHOT;  // as if it had fired, too
  epoll.reset();
  counter.reset();
  timer.reset();
  const auto back = bring_back(*saved);
  REQUIRE_MESSAGE(back.ok(), back.error().message());
  CHECK(::epoll_wait(number, &event, 1, 0) == 0);
  for (const proc::EpollEntry& entry : facts_of(number).info.epoll) {
    CHECK(entry.events == (entry.data == 1 ? EPOLLONESHOT : EPOLLONESHOT | EPOLLERR | EPOLLHUP));
  }
}

TEST_CASE("an epoll item whose file nobody of the image has is refused") {
  const UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  const UniqueFd write_end(ends[1]);
  struct epoll_event event = {};
  event.events = EPOLLIN;
  REQUIRE(::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, ends[0], &event) == 0);
  const UniqueFd other = std::move(sys::duplicate(ends[0])).take_value();
  ::close(ends[0]);
  const auto saved = save({epoll.get(), write_end.get()});
  REQUIRE(!saved.ok());
  CHECK(saved.error().message().find("that no descriptor of the saved processes refers to") !=
        std::string::npos);
}

TEST_CASE("inotify keeps watch descriptors, masks and paths; unread events are refused") {
  const TemporaryDirectory directory;
  write_file(directory.path("file"), "");
  REQUIRE(::mkdir(directory.path("sub").c_str(), 0700) == 0);
  UniqueFd anchor = must_open(directory.path(), O_RDONLY);
  UniqueFd fd(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  REQUIRE(::inotify_add_watch(fd.get(), directory.path().c_str(), IN_CREATE) == 1);
  REQUIRE(::inotify_add_watch(fd.get(), directory.path("sub").c_str(), IN_ALL_EVENTS) == 2);
  REQUIRE(::inotify_rm_watch(fd.get(), 2) == 0);
  char events[4096];
  REQUIRE(::read(fd.get(), events, sizeof events) > 0);  // IN_IGNORED
  REQUIRE(::inotify_add_watch(fd.get(), directory.path("file").c_str(), IN_MODIFY) == 3);
  const int number = fd.get();
  const auto twice = round_trip(list(std::move(anchor), std::move(fd)));
  REQUIRE_MESSAGE(twice.ok(), twice.error().message());
  const auto [before, after] = both<model::Inotify>(*twice, 1);
  REQUIRE(before.watches.size() == 2);
  CHECK(before.watches[1].descriptor == 3);
  CHECK(before.watches[1].path == directory.path("file"));
  CHECK(before == after);
  CHECK(!is_ready(number));
  write_file(directory.path("another"), "");
  CHECK(is_ready(number));
  const auto refused = save({number});
  REQUIRE(!refused.ok());
  CHECK(refused.error().message().find("file events wait in it") != std::string::npos);
}

TEST_CASE("a pidfd of a process of the image is opened again; another one is refused") {
  UniqueFd own = std::move(sys::pidfd_open(::getpid())).take_value();
  UniqueFd dup = std::move(sys::duplicate(own.get())).take_value();
  const UniqueFd parent = std::move(sys::pidfd_open(::getppid())).take_value();
  CHECK(refusal_of(parent.get()).find("which is not being saved") != std::string::npos);
  const int number = own.get();
  const int copy = dup.get();
  const auto twice = round_trip(list(std::move(own), std::move(dup)));
  REQUIRE_MESSAGE(twice.ok(), twice.error().message());
  CHECK(twice->first.image.resources == twice->second.image.resources);
  CHECK(facts_of(number).info.pidfd_pid == ::getpid());
  CHECK(*sys::same_open_file(::getpid(), number, ::getpid(), copy));
}
