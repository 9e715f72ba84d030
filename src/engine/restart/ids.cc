// The ladder: which rungs there are, and one attempt on each. An attempt that fails for its own
// reasons leaves nothing and the next rung is tried; the reasons are told together if none is left.
#include "restart/ids.h"

#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>

#include "base/log.h"
#include "base/sys.h"
#include "restart/become.h"
#include "restart/birth.h"
#include "restart/id_counter.h"
#include "restart/id_held.h"
#include "restart/id_make.h"
#include "restart/namespaces.h"
#include "restart/transients.h"
#include "trace/obstacle.h"

namespace stasis::restart {
namespace {

// What all rungs need to make the root.
struct Nursery {
  std::vector<int> descriptors;  // ours, to be inherited
  int executable = -1;           // one of them; -1: none
  Scratch scratch;
  Parent parent = Parent::kUs;
};

struct Attempt {
  bool born = false;
  std::string why_not;
};

struct Cradle {
  Gate gate;
  NewbornPlan plan;
};

Result<Cradle> prepare(BuildState& state, const Nursery& nursery) {
  Cradle cradle{TRY(Gate::make()), {}};
  std::vector<int> taken = {cradle.gate.theirs.get(), cradle.gate.ours.get()};
  for (const model::Process& process : state.context.image.processes) {
    for (const model::Descriptor& descriptor : process.descriptors) {
      taken.push_back(descriptor.number);
    }
  }
  rlimit limit = {};
  TRY(sys::check(::getrlimit(RLIMIT_NOFILE, &limit), "ask for", "the limit of open files"));
  const auto most = static_cast<int>(std::min<u64>(limit.rlim_max, 1 << 20));
  cradle.plan.parking = TRY(plan_parking(nursery.descriptors, std::move(taken), most));
  state.inherited.clear();
  for (const Parking& parking : cradle.plan.parking) {
    state.inherited[parking.from] = parking.to;
    if (parking.from == nursery.executable) cradle.plan.executable = parking.to;
  }
  return cradle;
}

void tell_of_child(const BuildState& state, Pid pid) {
  if (state.options.parent_is_caller && state.options.made_for_parent) {
    state.options.made_for_parent(pid);
  }
}

// From the newborn at the gate to the root among the targets.
Result<void> raise_root(BuildState& state, const Nursery& nursery, Cradle cradle, Pid pid) {
  tell_of_child(state, pid);
  Born born = TRY(raise_newborn(pid, cradle.plan, std::move(cradle.gate), nursery.scratch));
  if (!born.became) {
    const std::string why = born.obstacle.empty() ? "its file cannot be had" : born.obstacle;
    state.context.notes.push_back(
        fmt::format("/proc/PID/exe of process {} is not its program: {}", born.target.pid(), why));
  }
  return note_first(state, std::move(born.target));
}

Result<Attempt> by_set_tid(BuildState& state, const Nursery& nursery) {
  Cradle cradle = TRY(prepare(state, nursery));
  cradle.plan.keep_capabilities = ::geteuid() != 0;
  auto pid = clone_newborn(cradle.plan, cradle.gate, nursery.parent, state.process(0).pid);
  if (!pid) return Attempt{false, pid.error().message()};
  TRY(raise_root(state, nursery, std::move(cradle), *pid));
  const auto made = make_all(state, IdDemand::kSetTid);
  if (!made) return Attempt{false, made.error().message()};
  return Attempt{true, {}};
}

// The root: the only one that cannot be put off to the next round. (A child of our parent's that
// got another id is left for it to reap: nobody else can.)
Result<Pid> walk_to_root(BuildState& state, Cradle& cradle, const Nursery& nursery,
                         CounterWalk& walk) {
  const Pid wanted = state.process(0).pid;
  while (true) {
    TRY(walk.check_time());
    TRY(walk.walk_to(wanted));
    if (!walk.is_next(wanted)) continue;
    const Pid got = TRY(clone_newborn(cradle.plan, cradle.gate, nursery.parent, 0));
    walk.note(got);
    if (got == wanted) return got;
    tell_of_child(state, got);
    drop_newborn(got);
    cradle = TRY(prepare(state, nursery));  // it may have spoken through the gate already
  }
}

Result<Attempt> by_counter(BuildState& state, const Nursery& nursery) {
  Cradle cradle = TRY(prepare(state, nursery));
  CounterWalk walk = TRY(CounterWalk::begin());
  const auto pid = walk_to_root(state, cradle, nursery, walk);
  if (!pid) return Attempt{false, pid.error().message()};
  TRY(raise_root(state, nursery, std::move(cradle), *pid));
  const auto made = make_by_walking(state, walk);
  if (!made) return Attempt{false, made.error().message()};
  return Attempt{true, {}};
}

Result<Attempt> by_namespaces(BuildState& state, const Nursery& nursery) {
  Cradle cradle = TRY(prepare(state, nursery));
  cradle.plan.keep_capabilities = true;
  const auto pid =
      clone_newborn_in_namespaces(cradle.plan, cradle.gate, nursery.parent, state.process(0).pid);
  if (!pid) return Attempt{false, pid.error().message()};
  TRY(raise_root(state, nursery, std::move(cradle), *pid));
  TRY(make_all(state, IdDemand::kSetTid));
  return Attempt{true, {}};
}

Result<Attempt> with_new_ids(BuildState& state, const Nursery& nursery) {
  Cradle cradle = TRY(prepare(state, nursery));
  const Pid pid = TRY(clone_newborn(cradle.plan, cradle.gate, nursery.parent, 0));
  TRY(raise_root(state, nursery, std::move(cradle), pid));
  TRY(make_all(state, IdDemand::kAny));
  return Attempt{true, {}};
}

Result<Attempt> attempt(BuildState& state, const Nursery& nursery) {
  switch (state.way) {
    case IdWay::kSetTid:
      return by_set_tid(state, nursery);
    case IdWay::kCounter:
      return by_counter(state, nursery);
    case IdWay::kNamespaces:
      return by_namespaces(state, nursery);
    case IdWay::kNew:
      return with_new_ids(state, nursery);
  }
  return Attempt{};
}

std::string in_use(const Family& family, const Birth& held) {
  const bool ghost = held.thread == 0 && family.members[held.member].role == Role::kGhost;
  std::string what = "pid";
  if (ghost) what = family.members[held.member].leads_session ? "session" : "process group";
  const std::string holder = holder_of(held.id);
  return fmt::format("found {} {} in use by {}", what, held.id,
                     holder.empty() ? "a process that has just ended" : holder);
}

void note_namespaces(BuildState& state, const std::string& held,
                     const std::vector<std::string>& reasons) {
  std::string why = reasons.empty() ? "" : reasons.back();
  if (!held.empty()) why = held;
  state.context.notes.push_back(
      "restarted in private user, pid and mount namespaces: " +
      (why.empty() ? "the other ways to its ids would take too long" : why));
  const auto& members = state.family.members;
  const auto siblings = std::count_if(members.begin(), members.end(),
                                      [](const Member& member) { return member.sibling; });
  if (siblings == 0) return;
  state.context.notes.push_back(
      fmt::format("{} processes whose parent was not saved see 0 as their parent", siblings + 1));
}

Error no_rung_left(const std::string& held, const std::vector<std::string>& reasons) {
  std::string all;
  for (const std::string& reason : reasons) all += (all.empty() ? "" : "; ") + reason;
  const std::string hint = "--no-restore-pid restarts it with new ids";
  if (!held.empty() && all.empty()) {
    return fail(EBUSY, held, "--namespaces restarts it in namespaces of its own, " + hint);
  }
  if (!held.empty()) return fail(EBUSY, fmt::format("{} (and not elsewhere: {})", held, all), hint);
  return fail(EBUSY, fmt::format("cannot have the ids of the image again: {}", all), hint);
}

Result<Nursery> make_nursery(BuildState& state, const std::vector<int>& descriptors) {
  const model::Image& image = state.context.image;
  size_t threads = 1;
  for (const model::Process& process : image.processes) {
    threads = std::max(threads, process.threads.size());
  }
  Nursery nursery;
  nursery.parent = state.options.parent_is_caller ? Parent::kOurParent : Parent::kUs;
  nursery.scratch = TRY(choose_scratch(image, Target::scratch_length(threads)));
  nursery.executable = executable_of(state, image.processes.front());
  nursery.descriptors = descriptors;
  for (const model::Process& process : image.processes) {
    const int executable = executable_of(state, process);
    if (executable >= 0) nursery.descriptors.push_back(executable);
  }
  return nursery;
}

// In namespaces of its own the family sees our group and session as 0, and every id is free.
Result<void> plan(BuildState& state) {
  FamilyOptions options{.restore_group = state.options.restore_group,
                        .restore_session = state.options.restore_session,
                        .own_group = ::getpgrp(),
                        .own_session = ::getsid(0)};
  if (state.way == IdWay::kNamespaces) options.own_group = 0;
  state.family = TRY(plan_family(state.context.image, options));
  return {};
}

}  // namespace

Result<void> give_birth(BuildState& state, const std::vector<int>& descriptors) {
  const Nursery nursery = TRY(make_nursery(state, descriptors));
  state.user_namespace = TRY(sys::read_link("/proc/self/ns/user"));
  TRY(plan(state));
  const std::vector<Birth> order = walking_order(state.context.image, state.family);
  std::string held;
  BuildOptions options = state.options;
  if (state.options.restore_pids) {
    const auto birth = find_held(state.family, order);
    if (birth) held = in_use(state.family, *birth);
    if (birth && state.options.namespaces_if_strangers) {
      options.namespaces_if_held |= !may_be_original(state.context.image, birth->id);
    }
  }
  const bool short_walk = is_short_walk(ids_to_walk(TRY(last_id()), order, TRY(id_limit())));
  std::vector<std::string> reasons;
  std::optional<Error> untraceable;
  for (const IdWay way : ways_to_try(options, !held.empty(), short_walk)) {
    if (auto obstacle = trace::new_process_obstacle(way == IdWay::kNamespaces)) {
      reasons.push_back(obstacle->message());
      untraceable = std::move(obstacle);
      continue;
    }
    state.way = way;
    TRY(plan(state));
    const Attempt done = TRY(attempt(state, nursery));
    if (done.born) {
      if (way == IdWay::kNamespaces) note_namespaces(state, held, reasons);
      return {};
    }
    log::debug("ids, rung {}: {}", static_cast<int>(way), done.why_not);
    reasons.push_back(done.why_not);
    abandon(state);
  }
  if (untraceable) {
    return fail(untraceable->code, fmt::format("{}", fmt::join(reasons, "; ")), untraceable->hint);
  }
  return no_rung_left(held, reasons);
}

}  // namespace stasis::restart
