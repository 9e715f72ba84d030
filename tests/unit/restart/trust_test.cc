// judge(): whose images are restarted for whom.
#include <doctest/doctest.h>

#include <cerrno>

#include "restart/trust.h"

namespace stasis::restart {
namespace {

constexpr u32 kAlice = 1001, kBob = 1002;
constexpr Caller kRoot{.real = 0, .effective = 0};
constexpr ImageSource kAlices{.is_file = true, .owner = kAlice, .mode = 0400};
constexpr ImageSource kRoots{.is_file = true, .owner = 0, .mode = 0400};

model::Credentials ids(u32 id) {
  return {.uids = {id, id, id, id}, .gids = {id, id, id, id}, .groups = {}};
}

model::Image image_of(std::vector<model::Credentials> all) {
  model::Image image;
  for (model::Credentials& each : all) image.processes.emplace_back().credentials = std::move(each);
  return image;
}

std::optional<std::vector<u32>> groups_of(u32 uid) {
  if (uid != kAlice) return std::nullopt;
  return std::vector<u32>{kAlice, 50};
}

Trust judged(model::Credentials who, const ImageSource& source, const Caller& caller) {
  return judge(image_of({std::move(who)}), source, caller, groups_of);
}

bool refuses(model::Credentials who, const ImageSource& source, const Caller& caller) {
  const Trust trust = judged(std::move(who), source, caller);
  CHECK((trust.refusals.empty() || trust.refusals.front().code == EPERM));
  return !trust.refusals.empty();
}

}  // namespace

TEST_CASE("root believes root's image, and a user's about nobody but him") {
  CHECK(judged(ids(kAlice), kRoots, kRoot).full);
  CHECK_FALSE(judged(ids(kAlice), kAlices, kRoot).full);
  CHECK_FALSE(refuses(ids(kAlice), kAlices, kRoot));
  CHECK(refuses(ids(0), kAlices, kRoot));
  CHECK(refuses(ids(kBob), kAlices, kRoot));
  CHECK(judge(image_of({ids(kAlice), ids(kBob)}), kAlices, kRoot, groups_of).refusals.size() == 2);
  CHECK(judge(image_of({ids(0), ids(kBob)}), kRoots, kRoot, groups_of).refusals.empty());
}

TEST_CASE("one id of four is enough to be refused") {
  for (size_t i = 0; i < 4; ++i) {
    model::Credentials user = ids(kAlice);
    user.uids[i] = 0;
    CHECK(refuses(user, kAlices, kRoot));
    model::Credentials group = ids(kAlice);
    group.gids[i] = 0;
    CHECK(refuses(group, kAlices, kRoot));
  }
}

TEST_CASE("groups and capabilities that the user does not have") {
  model::Credentials who = ids(kAlice);
  who.groups = {50};
  CHECK_FALSE(refuses(who, kAlices, kRoot));
  who.groups = {50, 42};
  CHECK(refuses(who, kAlices, kRoot));
  CHECK_FALSE(refuses(who, kRoots, kRoot));
  for (u64 model::Credentials::*set :
       {&model::Credentials::permitted, &model::Credentials::effective,
        &model::Credentials::inheritable, &model::Credentials::ambient}) {
    model::Credentials able = ids(kAlice);
    able.*set = 1;
    CHECK(refuses(able, kAlices, kRoot));
    CHECK_FALSE(refuses(able, kRoots, kRoot));
  }
  model::Credentials unknown = ids(kBob);
  const ImageSource bobs{.is_file = true, .owner = kBob, .mode = 0400};
  CHECK_FALSE(refuses(unknown, bobs, kRoot));
  unknown.gids = {5, 5, 5, 5};
  CHECK(refuses(unknown, bobs, kRoot));
}

TEST_CASE("missing and impossible ids are refused for everybody") {
  const Caller alice{.real = kAlice, .effective = kAlice};
  for (const Caller& caller : {kRoot, alice}) {
    for (const auto& wrong : {std::vector<u32>{}, std::vector<u32>{kAlice},
                              std::vector<u32>{kAlice, kAlice, kAlice, ~u32{0}}}) {
      model::Credentials user = ids(kAlice), group = ids(kAlice);
      user.uids = wrong;
      group.gids = wrong;
      CHECK(refuses(user, kAlices, caller));
      CHECK(refuses(group, kAlices, caller));
    }
  }
}

TEST_CASE("files that others may write, pipes") {
  CHECK(refuses(ids(0), {.is_file = true, .owner = 0, .mode = 0602}, kRoot));
  CHECK(refuses(ids(0), {.is_file = true, .owner = 0, .mode = 0620}, kRoot));
  CHECK_FALSE(refuses(ids(0), {.is_file = false, .owner = 0, .mode = 0600}, kRoot));
  CHECK(refuses(ids(kAlice), {.is_file = false, .owner = 0, .mode = 0600}, kRoot));
  CHECK(refuses(ids(0), {.is_file = false, .owner = kAlice, .mode = 0600}, kRoot));
}

TEST_CASE("an image of root's that is written still, or whose owner may be anybody's word") {
  const ImageSource written{.is_file = true, .owner = 0, .mode = 0400, .open_for_writing = true};
  CHECK(refuses(ids(0), written, kRoot));
  CHECK(refuses(ids(kAlice), written, kRoot));
  const ImageSource stick{.is_file = true, .owner = 0, .mode = 0400, .forgeable_owner = true};
  CHECK(refuses(ids(0), stick, kRoot));
  CHECK_FALSE(judge(image_of({ids(kAlice), ids(kBob)}), stick, kRoot, groups_of).refusals.empty());
  CHECK_FALSE(refuses(ids(kAlice), stick, kRoot));
  CHECK_FALSE(judged(ids(kAlice), stick, kRoot).full);
  model::Credentials able = ids(kAlice);
  able.permitted = 1;
  CHECK(refuses(able, stick, kRoot));
}

TEST_CASE("an ordinary user is told whose image it is; the command's own rights are not for it") {
  const Caller bob{.real = kBob, .effective = kBob};
  CHECK(judged(ids(kBob), kAlices, bob).notes.size() == 1);
  CHECK(judged(ids(kBob), kRoots, bob).notes.empty());
  const Caller able{.real = kBob, .effective = kBob, .by_file = true};
  CHECK_FALSE(judged(ids(kBob), kRoots, able).honour_capabilities);
  CHECK(refuses(ids(0), kRoots, able));
  CHECK(refuses(ids(kBob), kRoots, {.real = kBob, .effective = 0}));
  CHECK(refuses(ids(kBob), kRoots, {.real = kBob, .effective = kBob, .other_group = true}));
}

}  // namespace stasis::restart
