// proc/fdinfo: the lines of every kind of descriptor, as kernels 5.10 to 6.18 write them.
#include "proc/fdinfo.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>

#include "base/sys.h"

using namespace stasis;

TEST_CASE("a regular file with locks; before 5.14 there is no inode line") {
  const auto info = proc::parse_fdinfo(
      "pos:\t4096\nflags:\t02100001\nmnt_id:\t27\n"
      "lock:\t1: FLOCK  ADVISORY  WRITE 7847 fe:00:10953055 0 EOF\n"
      "lock:\t2: POSIX  ADVISORY  READ 7847 fe:00:10953055 5 14\n"
      "lock:\t3: OFDLCK ADVISORY  WRITE -1 fe:00:10953055 100 EOF\n");
  REQUIRE(info.ok());
  CHECK(info->position == 4096);
  CHECK(info->flags == (O_CLOEXEC | O_LARGEFILE | O_WRONLY | 0100000));
  CHECK(info->mount_id == 27);
  CHECK(info->inode == 0);
  REQUIRE(info->locks.size() == 3);
  CHECK(info->locks[0].type == "FLOCK");
  CHECK(info->locks[0].exclusive);
  CHECK(info->locks[0].end == ~u64{0});
  CHECK(!info->locks[1].exclusive);
  CHECK(info->locks[1].start == 5);
  CHECK(info->locks[1].end == 14);
  CHECK(info->locks[2].owner == -1);
}

TEST_CASE("eventfd: counts are hexadecimal; older kernels do not tell about semaphores") {
  const auto old = proc::parse_fdinfo(
      "pos:\t0\nflags:\t02\nmnt_id:\t15\nino:\t1034\neventfd-count:               1f\n"
      "eventfd-id: 1\n");
  REQUIRE(old.ok());
  CHECK(old->has_eventfd);
  CHECK(old->eventfd_count == 31);
  CHECK(old->eventfd_semaphore == -1);
  const auto today = proc::parse_fdinfo(
      "pos:\t0\nflags:\t02\nmnt_id:\t15\nino:\t1034\neventfd-count: ffffffffffffffff\n"
      "eventfd-id: 1\neventfd-semaphore: 1\n");
  CHECK(today->eventfd_count == ~u64{0});
  CHECK(today->eventfd_semaphore == 1);
}

TEST_CASE("timerfd, signalfd, pidfd") {
  const auto timer = proc::parse_fdinfo(
      "pos:\t0\nflags:\t02\nmnt_id:\t17\nino:\t1038\nclockid: 1\nticks: 3\nsettime flags: 03\n"
      "it_value: (9, 999976706)\nit_interval: (1, 5)\n");
  REQUIRE(timer.ok());
  CHECK(timer->has_timerfd);
  CHECK(timer->timerfd.clock == 1);
  CHECK(timer->timerfd.ticks == 3);
  CHECK(timer->timerfd.settime_flags == 3);
  CHECK(timer->timerfd.value_ns == 9'999'976'706);
  CHECK(timer->timerfd.interval_ns == 1'000'000'005);
  CHECK(!proc::parse_fdinfo("clockid: 1\nit_value: (9 999)\n").ok());
  const auto signals = proc::parse_fdinfo("pos:\t0\nsigmask:\t0000000000000201\n");
  CHECK(signals->has_signalfd);
  CHECK(signals->signalfd_mask == 0x201);
  const auto gone = proc::parse_fdinfo("pos:\t0\nflags:\t02000002\nPid:\t-1\nNSpid:\t-1\n");
  CHECK(gone->has_pidfd);
  CHECK(gone->pidfd_pid == -1);
}

TEST_CASE("epoll members and inotify watches") {
  const auto poll = proc::parse_fdinfo(
      "pos:\t0\nflags:\t02000002\nmnt_id:\t17\nino:\t1038\n"
      "tfd:        4 events:       1d data:     7f6400000004  pos:0 ino:40e sdev:10\n"
      "tfd:       12 events: 80000001 data: ffffffffffffffff  pos:12 ino:3c51a sdev:fe00000\n");
  REQUIRE(poll.ok());
  REQUIRE(poll->epoll.size() == 2);
  CHECK(poll->epoll[0].number == 4);
  CHECK(poll->epoll[0].events == 0x1d);
  CHECK(poll->epoll[0].data == 0x7f6400000004);
  CHECK(poll->epoll[0].inode == 0x40e);
  CHECK(poll->epoll[1].events == 0x80000001);
  CHECK(poll->epoll[1].data == ~u64{0});
  CHECK(poll->epoll[1].device == 0xfe00000);
  const auto watches = proc::parse_fdinfo(
      "pos:\t0\nflags:\t00\nmnt_id:\t17\nino:\t1038\n"
      "inotify wd:a ino:3c51a sdev:fe00000 mask:100 ignored_mask:0 fhandle-bytes:8 "
      "fhandle-type:1 f_handle:1ac5030000000000\n");
  REQUIRE(watches.ok());
  REQUIRE(watches->inotify.size() == 1);
  CHECK(watches->inotify[0].wd == 10);
  CHECK(watches->inotify[0].inode == 0x3c51a);
  CHECK(watches->inotify[0].mask == 0x100);
}

TEST_CASE("our own descriptors") {
  const UniqueFd event(::eventfd(5, EFD_CLOEXEC));
  REQUIRE(event);
  const auto info = proc::read_fdinfo(::getpid(), event.get());
  REQUIRE(info.ok());
  CHECK(info->has_eventfd);
  CHECK(info->eventfd_count == 5);
  CHECK(info->eventfd_semaphore <= 0);
  CHECK((info->flags & O_CLOEXEC) != 0);
  const auto numbers = proc::read_descriptors(::getpid());
  REQUIRE(numbers.ok());
  CHECK(std::find(numbers->begin(), numbers->end(), event.get()) != numbers->end());
  CHECK(*proc::read_fd_link(::getpid(), event.get()) == "anon_inode:[eventfd]");
}
