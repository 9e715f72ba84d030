// Scripts for what belongs to a process and its threads beside memory.
#include <doctest/doctest.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>

#include "restart/attributes.h"
#include "restart/credentials.h"
#include "restart/finish.h"
#include "restart/signals.h"
#include "restart/threads.h"
#include "restart/timers.h"
#include "script_reader.h"

using namespace stasis;
using namespace stasis::restart;

namespace {

Bytes info(int signal) {
  Bytes bytes(128);
  std::memcpy(bytes.data(), &signal, sizeof signal);
  return bytes;
}

model::Credentials ordinary() {
  return {.uids = {1001, 1001, 1001, 1001}, .gids = {1001, 1001, 1001, 1001}, .groups = {1001}};
}

model::Credentials administrator() {
  model::Credentials root{.uids = {0, 0, 0, 0}, .gids = {0, 0, 0, 0}, .groups = {}};
  root.effective = root.permitted = root.bounding = 0x1ffffffffff;
  return root;
}

}  // namespace

TEST_CASE("every action is set but those that scripts need or nobody can") {
  model::Process process;
  process.actions = {
      {.signal = 10, .handler = {0x4000}, .flags = 4, .restorer = {0x5000}, .mask = 7}};
  trace::Script script;
  add_actions(process, script);
  const auto calls = calls_of(script, SYS_rt_sigaction);
  CHECK(calls.size() == 61);
  for (const auto& call : calls) {
    const auto action = object_at<std::array<u64, 4>>(script, call, 1);
    const bool usr1 = number_at(call, 0) == 10;
    CHECK(action == (usr1 ? std::array<u64, 4>{0x4000, 4, 0x5000, 7} : std::array<u64, 4>{}));
  }
}

TEST_CASE("pending signals keep their order and bytes; traps are set apart") {
  const std::vector<Bytes> pending = {info(40), info(SIGTRAP), info(10)};
  CHECK(only_traps(pending).size() == 1);
  trace::Script script;
  add_thread_pending(without_traps(pending), 7, 8, script);
  const auto calls = calls_of(script, SYS_rt_tgsigqueueinfo);
  REQUIRE(calls.size() == 2);
  CHECK(number_at(calls[0], 2) == 40);
  CHECK(number_at(calls[1], 1) == 8);
  CHECK(data_at(script, calls[1], 3, 128) == info(10));
}

TEST_CASE("an image cannot make counting timer ids cost memory") {
  model::Process process;
  process.posix_timers = {{.id = -2'000'000'000}, {.id = kLargestCountedTimerId}};
  CHECK(timer_steps(process, {}, false).size() < 2000);
  process.posix_timers = {{.id = std::numeric_limits<i32>::max()}};
  CHECK(timer_steps(process, {}, true).size() == 1);
}

TEST_CASE("timers whose ids can be chosen need a call each") {
  model::Process process;
  process.pid = 50;
  process.posix_timers = {{.id = 9,
                           .clock = CLOCK_MONOTONIC,
                           .notify = 4,
                           .signal = 34,
                           .tid = 51,
                           .value_ns = 1'500'000'000},
                          {.id = 3, .clock = CLOCK_THREAD_CPUTIME_ID, .notify = 4, .tid = 52}};
  const auto steps = timer_steps(process, {{51, 151}, {52, 152}}, true);
  REQUIRE(steps.size() == 2);
  CHECK(steps[0].expected_id == 3);
  CHECK(steps[0].tid == 52);  // its own CPU clock
  CHECK(steps[1].tid == 50);
  const auto& script = steps[1].script;
  const auto create = calls_of(script, SYS_timer_create);
  REQUIRE(create.size() == 1);
  const auto event = object_at<std::array<i32, 5>>(script, create[0], 1);
  CHECK(event[2] == 34);
  CHECK(event[4] == 151);
  const auto start = calls_of(script, SYS_timer_settime);
  REQUIRE(start.size() == 1);
  CHECK(object_at<std::array<i64, 4>>(script, start[0], 2) ==
        std::array<i64, 4>{0, 0, 1, 500'000'000});
}

TEST_CASE("ids that cannot be chosen are counted to") {
  model::Process process;
  process.posix_timers = {{.id = 2}, {.id = 3}, {.id = 25'000}};
  const auto steps = timer_steps(process, {}, false);
  size_t created = 0;
  for (const auto& step : steps) {
    const auto script = step.counts() ? count_script(step) : step.script;
    created += calls_of(script, SYS_timer_create).size();
  }
  CHECK(created == 25'001);
  CHECK(std::count_if(steps.begin(), steps.end(),
                      [](const auto& step) { return step.expected_id >= 0; }) == 3);
}

TEST_CASE("an affinity of all CPUs stays one of all CPUs") {
  MachineFacts facts;
  facts.possible = Bytes(8, std::byte{0});
  facts.possible[0] = std::byte{0x0f};
  facts.saved_cpus = 2;
  Bytes saved(8, std::byte{0});
  saved[0] = std::byte{3};
  CHECK(affinity_for(saved, facts) == Bytes(8, std::byte{0xff}));
  facts.saved_cpus = 4;
  CHECK(affinity_for(saved, facts) == saved);
  saved[0] = std::byte{0x30};  // which of them are allowed the kernel decides
  CHECK(affinity_for(saved, facts) == saved);
}

TEST_CASE("a thread's script asks for nothing that is the default") {
  model::Thread thread;
  thread.name = "worker";
  thread.alternate_stack.flags = 2;
  thread.scheduling.io_priority = 2 << 13 | 4;
  const auto script = thread_script(thread, {});
  CHECK(calls_of(script, SYS_set_robust_list).empty());
  CHECK(calls_of(script, SYS_sigaltstack).empty());
  CHECK(calls_of(script, SYS_rseq).empty());
  CHECK(calls_of(script, SYS_ioprio_set).empty());
  CHECK(calls_of(script, SYS_sched_setaffinity).empty());
  CHECK(calls_of(script, SYS_set_tid_address).size() == 1);
}

TEST_CASE("a thread on its alternate stack gets it without the mark") {
  model::Thread thread;
  thread.alternate_stack = {.sp = {0x7000}, .flags = 1U | 1U << 31, .size = 8192};
  const auto script = thread_script(thread, {});
  const auto calls = calls_of(script, SYS_sigaltstack);
  REQUIRE(calls.size() == 1);
  CHECK(object_at<std::array<u64, 3>>(script, calls[0], 0) ==
        std::array<u64, 3>{0x7000, u64{1} << 31, 8192});
}

TEST_CASE("the default slice is not asked for") {
  model::Thread thread;
  thread.scheduling.runtime_ns = 2'800'000;
  const auto attr_of = [&](u64 default_slice) {
    const auto script = thread_script(thread, {.default_slice_ns = default_slice});
    return object_at<std::array<u64, 6>>(script, calls_of(script, SYS_sched_setattr).at(0), 1);
  };
  CHECK(attr_of(2'800'000)[3] == 0);
  CHECK(attr_of(3'000'000)[3] == 2'800'000);
}

TEST_CASE("an idle thread's nice value needs a call of its own") {
  model::Thread thread;
  thread.scheduling.policy = SCHED_IDLE;
  thread.scheduling.nice = 5;
  const auto script = thread_script(thread, {});
  const auto calls = calls_of(script, SYS_setpriority);
  REQUIRE(calls.size() == 1);
  CHECK(number_at(calls[0], 2) == 5);
  thread.scheduling.policy = SCHED_BATCH;
  CHECK(calls_of(thread_script(thread, {}), SYS_setpriority).empty());
}

TEST_CASE("equal credentials need no call") {
  CHECK(credentials_script(ordinary(), ordinary(), false).empty());
  CHECK(credential_obstacles(ordinary(), ordinary(), "it").empty());
}

TEST_CASE("an administrator becomes the ordinary user, capabilities last") {
  const auto script = credentials_script(ordinary(), administrator(), false);
  CHECK(credential_obstacles(ordinary(), administrator(), "it").empty());
  CHECK(calls_of(script, SYS_setgroups).size() == 1);
  CHECK(calls_of(script, SYS_setresuid).size() == 1);
  const auto capset = calls_of(script, SYS_capset);
  REQUIRE(capset.size() == 1);
  CHECK(object_at<std::array<u32, 6>>(script, capset[0], 1) == std::array<u32, 6>{});
  size_t dropped = 0;
  for (const auto& call : calls_of(script, SYS_prctl)) {
    dropped += number_at(call, 0) == PR_CAPBSET_DROP ? 1 : 0;
  }
  CHECK(dropped == 41);
}

TEST_CASE("nobody gains anything") {
  CHECK(credential_obstacles(administrator(), ordinary(), "it").size() >= 3);
  model::Credentials other = ordinary();
  other.groups = {4, 1001};
  CHECK(credential_obstacles(other, ordinary(), "it").size() == 1);
  model::Credentials bounded = ordinary();
  bounded.bounding = 0xff;
  bounded.permitted = 1;
  model::Credentials free = ordinary();
  free.permitted = 1;
  CHECK(credential_obstacles(free, bounded, "it").size() == 1);
  CHECK(credential_obstacles(bounded, free, "it").empty());
}

TEST_CASE("bounds and secure bits of a program without capabilities are no obstacle, but told") {
  model::Credentials bounded = ordinary();
  bounded.bounding = 0xff;
  bounded.securebits = 1;
  bounded.inheritable = 2;
  CHECK(credential_obstacles(bounded, ordinary(), "it").empty());
  CHECK(credential_notes(bounded, ordinary(), "it").size() == 3);
  CHECK(credential_notes(ordinary(), ordinary(), "it").empty());
  CHECK(credentials_script(bounded, ordinary(), false).empty());
  model::Credentials root = bounded;
  root.uids = {0, 0, 0, 0};
  model::Credentials ours = ordinary();
  ours.uids = root.uids;
  ours.bounding = 0xfff;
  CHECK(credential_obstacles(root, ours, "it").size() == 2);
}

TEST_CASE("keeping capabilities is chosen again by whoever restarts") {
  model::Credentials old = ordinary();
  old.securebits = 1U << 4;  // as images had it
  CHECK(credential_obstacles(old, ordinary(), "it").empty());
  CHECK(calls_of(credentials_script(old, ordinary(), false), SYS_prctl).size() == 1);
  CHECK(calls_of(credentials_script(ordinary(), ordinary(), false, true), SYS_prctl).size() == 1);
}

TEST_CASE(
    "groups that a user namespace hid are taken for ours, and never kept by who may set them") {
  model::Credentials hidden = ordinary(), ours = ordinary(), other = ordinary();
  hidden.groups = {1001, 65534};
  ours.groups = {4, 1001};
  other.groups = {1001, 5, 6};
  CHECK(credential_obstacles(hidden, ours, "it").empty());
  CHECK(credentials_script(hidden, ours, false).empty());
  CHECK(credential_obstacles(ours, hidden, "it").empty());
  CHECK(credential_obstacles(hidden, other, "it").size() == 1);
  CHECK(calls_of(credentials_script(hidden, administrator(), false), SYS_setgroups).size() == 1);
}

TEST_CASE("in a user namespace of ours only capabilities are given up") {
  model::Credentials now = ordinary();
  now.effective = now.permitted = 0xff;
  now.groups = {65534};
  const auto script = credentials_script(ordinary(), now, true);
  CHECK(calls_of(script, SYS_setgroups).empty());
  CHECK(calls_of(script, SYS_capset).size() == 1);
}

TEST_CASE("the parent-death signal comes after the credentials") {
  model::Process process;
  process.credentials = ordinary();
  model::Thread thread;
  thread.parent_death_signal = 9;
  thread.no_new_privs = true;
  const auto script = last_thread_script(process, thread, administrator(), false);
  const auto& last = script.operations().back();
  CHECK(last.number == SYS_prctl);
  CHECK(number_at(last, 0) == PR_SET_PDEATHSIG);
}

TEST_CASE("limits are set as they were") {
  model::Process process;
  process.limits = {{.which = 7, .soft = 100, .hard = ~u64{0}}};
  const auto script = limits_script(process);
  const auto calls = calls_of(script, SYS_prlimit64);
  REQUIRE(calls.size() == 1);
  CHECK(object_at<std::array<u64, 2>>(script, calls[0], 2) == std::array<u64, 2>{100, ~u64{0}});
}
