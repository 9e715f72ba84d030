// Who makes whom, in which order, and what becomes of sessions, groups, programs and shared memory.
#include "restart/family.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <limits>

namespace stasis::restart {
namespace {

struct Who {
  Pid pid, parent, group = 0, session = 0;
};

model::Process process(const Who& who, std::initializer_list<Pid> threads = {}) {
  model::Process process;
  process.pid = who.pid;
  process.parent = who.parent;
  process.group = who.group;
  process.session = who.session;
  process.threads.emplace_back().tid = who.pid;
  for (const Pid tid : threads) process.threads.emplace_back().tid = tid;
  return process;
}

model::Zombie zombie(const Who& who) {
  model::Zombie zombie;
  zombie.pid = who.pid;
  zombie.parent = who.parent;
  zombie.group = who.group;
  zombie.session = who.session;
  return zombie;
}

model::Image image_of(std::initializer_list<Who> all) {
  model::Image image;
  for (const Who& who : all) image.processes.push_back(process(who));
  return image;
}

constexpr FamilyOptions kPlain{.own_group = 50, .own_session = 40};
constexpr FamilyOptions kExact{
    .restore_group = true, .restore_session = true, .own_group = 50, .own_session = 40};

Family family_of(const model::Image& image, const FamilyOptions& options = kPlain) {
  auto family = plan_family(image, options);
  REQUIRE(family.ok());
  return std::move(family).take_value();
}

std::vector<Pid> ids_of(const std::vector<Birth>& births) {
  std::vector<Pid> ids;
  for (const Birth& birth : births) ids.push_back(birth.id);
  return ids;
}

std::vector<Pid> walk(const model::Image& image, const FamilyOptions& options = kPlain) {
  return ids_of(walking_order(image, family_of(image, options)));
}

int code_of(const model::Image& image, const FamilyOptions& options = kPlain) {
  const auto family = plan_family(image, options);
  return family.ok() ? 0 : family.error().code;
}

}  // namespace

TEST_CASE("ids are walked from the root upwards, then from the bottom") {
  model::Image image;
  image.processes = {process({1000, 1}, {1003, 310}), process({1001, 1000}, {1002})};
  CHECK(walk(image) == std::vector<Pid>{1000, 1001, 1002, 1003, 310});
}

TEST_CASE("a child whose parent has a higher id waits for the next time around") {
  const model::Image image = image_of({{1000, 9}, {1500, 1000}, {1200, 1500}, {1600, 1200}});
  CHECK(walk(image) == std::vector<Pid>{1000, 1500, 1200, 1600});
}

TEST_CASE("zombies have ids like everybody") {
  model::Image image = image_of({{1000, 9}, {1002, 1000}});
  image.zombies = {zombie({1001, 1002})};
  const Family family = family_of(image);
  CHECK(family.members[2].role == Role::kZombie);
  CHECK(family.members[2].maker == 1);
  CHECK(walk(image) == std::vector<Pid>{1000, 1002, 1001});
}

TEST_CASE("a process whose parent is elsewhere is a sibling of the root") {
  const Family family = family_of(image_of({{1000, 9}, {1001, 9}, {1002, 8}, {1003, 1002}}));
  CHECK(!family.members[0].sibling);
  CHECK(family.members[1].sibling);
  CHECK(family.members[2].sibling);
  CHECK(family.members[2].maker == 0);
  CHECK(!family.members[3].sibling);
  CHECK(family.members[3].maker == 2);
}

TEST_CASE("orphans share a parent that ends, with an id that nobody wants") {
  const model::Image image = image_of({{1000, 1}, {1001, 1000}, {1003, 1}, {1004, 1}});
  const Family family = family_of(image);
  REQUIRE(family.members.size() == 5);
  CHECK(family.members[4].role == Role::kStandIn);
  CHECK(family.members[4].id == 1002);
  CHECK(family.members[4].exit_signal == 0);
  CHECK(family.members[2].maker == 4);
  CHECK(family.members[3].maker == 4);
  CHECK(walk(image) == std::vector<Pid>{1000, 1001, 1002, 1003, 1004});
}

TEST_CASE("without being asked for, sessions and groups are nobody's business") {
  const Family family =
      family_of(image_of({{1000, 9, 1000, 1000}, {1001, 1000, 1001, 1001}, {1002, 1, 77, 88}}));
  for (const Member& member : family.members) {
    CHECK(!member.leads_session);
    CHECK(member.group == 0);
    CHECK(member.role != Role::kGhost);
  }
}

TEST_CASE("a session begins before those are made who inherit it") {
  const model::Image image =
      image_of({{1000, 9, 1000, 1000}, {1001, 1000, 1001, 1000}, {1002, 1000, 1002, 1002}});
  const Family family = family_of(image, kExact);
  CHECK(family.members[0].leads_session);
  CHECK(!family.members[1].early);
  CHECK(family.members[1].group == 1001);
  CHECK(family.members[2].leads_session);
  CHECK(family.members[2].group == 0);
}

TEST_CASE("a child that stayed in the session that its parent left is made before") {
  // 1001 was made, and made 1002, in session 1000, and then began its own.
  const model::Image image = image_of({{1000, 9, 1000, 1000},
                                       {1001, 1000, 1001, 1001},
                                       {1002, 1001, 1000, 1000},
                                       {1003, 1001, 1001, 1001}});
  const Family family = family_of(image, kExact);
  CHECK(!family.members[1].early);
  CHECK(family.members[2].early);
  CHECK(!family.members[3].early);
  Readiness readiness(family);
  readiness.note({1000, 0, 0});
  CHECK(readiness.may_begin_session(0));
  readiness.note({1001, 1, 0});
  CHECK(!readiness.may_begin_session(1));
  CHECK(readiness.is_ready({1002, 2, 0}));
  CHECK(!readiness.is_ready({1003, 3, 0}));
  readiness.note({1002, 2, 0});
  CHECK(readiness.may_begin_session(1));
  CHECK(readiness.is_ready({1003, 3, 0}));
}

TEST_CASE("a sibling that is not in the root's session is made before the root begins it") {
  const Family family = family_of(
      image_of({{1000, 9, 1000, 1000}, {1001, 9, 50, 40}, {1002, 9, 1002, 1002}}), kExact);
  CHECK(family.members[1].sibling);
  CHECK(family.members[1].early);
  CHECK(family.members[1].group == 0);
  CHECK(!family.members[2].early);
}

TEST_CASE("a session whose leader is elsewhere can only be ours") {
  CHECK(code_of(image_of({{1000, 9, 50, 40}, {1001, 1000, 50, 40}}), kExact) == 0);
  CHECK(code_of(image_of({{1000, 9, 50, 41}}), kExact) == EPERM);
  CHECK(code_of(image_of({{1000, 9, 1000, 1000}, {1001, 1000, 7, 7}}), kExact) == EPERM);
  CHECK(code_of(image_of({{1000, 9, 50, 41}}), kPlain) == 0);
}

TEST_CASE("orphans in a session whose leader is gone are made by its ghost") {
  const Family family = family_of(
      image_of({{1000, 9, 1000, 1000}, {1002, 1, 1001, 1001}, {1003, 1, 1001, 1001}}), kExact);
  REQUIRE(family.members.size() == 4);
  const Member& ghost = family.members[3];
  CHECK(ghost.role == Role::kGhost);
  CHECK(ghost.id == 1001);
  CHECK(ghost.leads_session);
  CHECK(ghost.maker == 0);
  CHECK(family.members[1].maker == 3);
  CHECK(family.members[2].maker == 3);
  CHECK(family.members[1].group == 1001);
}

TEST_CASE("orphans in a session of the image have a parent there that ends") {
  const Family family = family_of(
      image_of({{1000, 9, 1000, 1000}, {1002, 1000, 1002, 1002}, {1005, 1, 1002, 1002}}), kExact);
  REQUIRE(family.members.size() == 4);
  CHECK(family.members[3].role == Role::kStandIn);
  CHECK(family.members[3].maker == 1);
  CHECK(family.members[2].maker == 3);
}

TEST_CASE("a zombie that leads a session makes its orphans") {
  model::Image image = image_of({{1000, 9, 1000, 1000}, {1002, 1, 1001, 1001}});
  image.zombies = {zombie({1001, 1000, 1001, 1001})};
  const Family family = family_of(image, kExact);
  REQUIRE(family.members.size() == 3);
  CHECK(family.members[2].leads_session);
  CHECK(family.members[1].maker == 2);
}

TEST_CASE("a group whose leader is gone gets a ghost; our own needs none") {
  const Family family = family_of(
      image_of({{1000, 9, 50, 40}, {1002, 1000, 1001, 40}, {1003, 1002, 1001, 40}}), kExact);
  REQUIRE(family.members.size() == 4);
  CHECK(family.members[0].group == 0);
  CHECK(family.members[1].group == 1001);
  CHECK(family.members[2].group == 1001);
  CHECK(family.members[3].role == Role::kGhost);
  CHECK(!family.members[3].leads_session);
  CHECK(family.members[3].maker == 0);
  CHECK(family.members[3].group == 1001);
}

TEST_CASE("images that no machine makes are refused") {
  CHECK(code_of(model::Image()) == EINVAL);  // nobody to make
  CHECK(code_of(image_of({{1000, 9}, {1000, 9}})) == EINVAL);
  CHECK(code_of(image_of({{1000, 9}, {1001, 1002}, {1002, 1001}})) == EINVAL);
  CHECK(code_of(image_of({{1000, 9}, {1001, 1001}})) == EINVAL);
  model::Image image = image_of({{1000, 9}, {1002, 1001}});
  image.zombies = {zombie({1001, 1000})};
  CHECK(code_of(image) == EINVAL);
}

TEST_CASE("a group or session that is no id, or somebody's thread, has no ghost") {
  CHECK(code_of(image_of({{1000, 9, -7}}), kExact) == EINVAL);
  CHECK(code_of(image_of({{1000, 9}, {1001, 1, 0, -7}}), kExact) == EINVAL);
  model::Image image = image_of({{1000, 9}, {1001, 1000, 1002}});
  CHECK(code_of(image, kExact) == 0);
  image.processes[0].threads.emplace_back().tid = 1002;
  CHECK(code_of(image, kExact) == EINVAL);
}

TEST_CASE("behind the greatest id helpers' ids begin again") {
  constexpr Pid kMost = std::numeric_limits<Pid>::max();
  const Family family = family_of(image_of({{kMost, 9}, {2, 1}}));
  CHECK(family.members.back().role == Role::kStandIn);
  CHECK(family.members.back().id == 1);
}

namespace {

// Processes with the program `program` (a resource index) that map shared memory `region`.
model::Image with_programs(std::initializer_list<std::tuple<Who, u32, std::optional<u32>>> all) {
  model::Image image;
  image.resources = {model::RegularFile{}, model::RegularFile{}, model::SharedMemory{},
                     model::SharedMemory{}};
  for (const auto& [who, program, region] : all) {
    model::Process made = process(who);
    made.executable = program;
    if (region) {
      model::Vma vma;
      vma.shared = true;
      vma.resource = *region;
      made.memory.vmas.push_back(vma);
    }
    image.processes.push_back(std::move(made));
  }
  return image;
}

}  // namespace

TEST_CASE("who has another program than its maker executes it") {
  const Family family = family_of(with_programs({{{1000, 9}, 0, std::nullopt},
                                                 {{1001, 1000}, 1, std::nullopt},
                                                 {{1002, 1001}, 1, std::nullopt},
                                                 {{1003, 1001}, 0, std::nullopt}}));
  CHECK(!family.members[0].executes);
  CHECK(family.members[1].executes);
  CHECK(!family.members[2].executes);
  CHECK(family.members[3].executes);
}

TEST_CASE("shared memory is mapped by the first of those that have it") {
  const Family family = family_of(with_programs(
      {{{1000, 9}, 0, 2}, {{1001, 1000}, 1, 3}, {{1002, 1001}, 1, 3}, {{1003, 1000}, 0, 2}}));
  CHECK(family.members[0].regions == std::vector<model::ResourceIndex>{2});
  CHECK(family.members[1].executes);
  CHECK(family.members[1].regions == std::vector<model::ResourceIndex>{3});
  CHECK(family.members[2].regions.empty());
}

TEST_CASE("who shares memory with another program keeps its maker's") {
  const Family family = family_of(with_programs({{{1000, 9}, 0, 2}, {{1001, 1000}, 1, 2}}));
  CHECK(!family.members[1].executes);
  CHECK(family.members[1].keeps_program);
  CHECK(family.members[0].regions == std::vector<model::ResourceIndex>{2});
}

TEST_CASE("shared memory below a process keeps it from executing too") {
  const Family family = family_of(
      with_programs({{{1000, 9}, 0, 2}, {{1001, 1000}, 1, std::nullopt}, {{1002, 1001}, 0, 2}}));
  CHECK(family.members[1].keeps_program);
  CHECK(!family.members[2].keeps_program);
}

}  // namespace stasis::restart
