// The ladder: which rungs there are, and one attempt on each. An attempt that fails for its own
// reasons leaves nothing and the next rung is tried; id_reasons.cc tells why, if none is left.
// Essay: docs/design/pids.md.
#include "restart/ids.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/log.h"
#include "base/sys.h"
#include "restart/become.h"
#include "restart/birth.h"
#include "restart/clocks.h"
#include "restart/id_counter.h"
#include "restart/id_held.h"
#include "restart/id_make.h"
#include "restart/id_reasons.h"
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
  std::string why_not, hint;
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
  if (!state.options.trusted) cradle.plan.user = state.context.rights.only();
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

// Anything but the user's own wish to stop lets the next rung be tried.
Result<Attempt> failed(const Error& error) {
  if (error.code == ECANCELED) return error;
  return Attempt{false, error.message(), error.hint};
}

Result<Attempt> by_set_tid(BuildState& state, const Nursery& nursery) {
  Cradle cradle = TRY(prepare(state, nursery));
  cradle.plan.keep_capabilities = ::geteuid() != 0;
  auto pid = clone_newborn(cradle.plan, cradle.gate, nursery.parent, state.process(0).pid);
  if (!pid) return failed(pid.error());
  TRY(raise_root(state, nursery, std::move(cradle), *pid));
  const auto made = make_all(state, IdDemand::kSetTid);
  if (!made) return failed(made.error());
  return Attempt{true, {}, {}};
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

WalkLimits limits_of(const BuildOptions& options, Rung rung) {
  // A busy machine is several times slower than what was measured.
  constexpr i64 kPatience = 6;
  const bool is_default = options.short_walk_ms == kShortWalkMs;
  const i64 short_ms = is_default ? kPatience * kShortWalkMs : options.short_walk_ms;
  if (rung == Rung::kLongWalk) {
    return {options.long_walk_ms, options.long_walk_ms, options.walk_progress};
  }
  return {options.short_walk_ms, short_ms, options.walk_progress};
}

Result<Attempt> by_counter(BuildState& state, const Nursery& nursery, Rung rung) {
  const WalkLimits limits = limits_of(state.options, rung);
  if (limits.predicted_ms == 0) {
    return Attempt{false, "walking the pid counter was forbidden by --pid-walk-time 0", {}};
  }
  auto walk = CounterWalk::begin(walking_order(state.context.image, state.family), limits);
  if (!walk) return failed(walk.error());
  Cradle cradle = TRY(prepare(state, nursery));
  const auto pid = walk_to_root(state, cradle, nursery, *walk);
  if (!pid) return failed(pid.error());
  TRY(raise_root(state, nursery, std::move(cradle), *pid));
  const auto made = make_by_walking(state, *walk);
  if (!made) return failed(made.error());
  return Attempt{true, {}, {}};
}

Result<Attempt> by_namespaces(BuildState& state, const Nursery& nursery) {
  Cradle cradle = TRY(prepare(state, nursery));
  cradle.plan.keep_capabilities = true;
  const auto pid = clone_newborn_in_namespaces(
      cradle.plan, cradle.gate, nursery.parent, state.process(0).pid,
      {.kept = state.options.image_lock, .time = state.time ? offsets_text(*state.time) : ""});
  if (!pid) return failed(pid.error());
  TRY(raise_root(state, nursery, std::move(cradle), *pid));
  const auto made = make_all(state, IdDemand::kSetTid);
  if (!made) return failed(made.error());
  return Attempt{true, {}, {}};
}

// The numbers of groups and sessions are ids of their leaders. What cannot have them is not given
// others: that would be a restart without what was asked for.
Error numbers_not_to_be_had(const BuildState& state, const Error& why) {
  const std::set<Pid> numbers = exact_ids(state);
  constexpr std::array kOfIds = {EPERM, EEXIST, EBUSY, ETIMEDOUT, ERANGE};
  if (numbers.empty() || std::ranges::find(kOfIds, why.code) == kOfIds.end()) return why;
  return fail(EBUSY,
              fmt::format("cannot restore the numbers of process groups and sessions ({}): {}",
                          fmt::join(numbers, ", "), why.message()),
              "restart without --no-restore-pid, or without --restore-pgid and --restore-sid");
}

// Where the kernel gives no ids on demand, that of the root can be walked to.
Result<Pid> root_with_number(BuildState& state, Cradle& cradle, const Nursery& nursery) {
  const Pid wanted = state.process(0).pid;
  auto pid = clone_newborn(cradle.plan, cradle.gate, nursery.parent, wanted);
  if (pid || pid.error().code == EEXIST) return pid;
  auto walk = CounterWalk::begin({Birth{wanted, 0, 0}}, limits_of(state.options, Rung::kLongWalk));
  if (!walk) return walk.error();
  cradle = TRY(prepare(state, nursery));
  return walk_to_root(state, cradle, nursery, *walk);
}

Result<void> make_with_new_ids(BuildState& state, const Nursery& nursery) {
  Cradle cradle = TRY(prepare(state, nursery));
  cradle.plan.keep_capabilities = !exact_ids(state).empty() && ::geteuid() != 0;
  const bool exact = exact_ids(state).contains(state.process(0).pid);
  const Pid pid = exact ? TRY(root_with_number(state, cradle, nursery))
                        : TRY(clone_newborn(cradle.plan, cradle.gate, nursery.parent, 0));
  TRY(raise_root(state, nursery, std::move(cradle), pid));
  return make_all(state, IdDemand::kAny);
}

Result<Attempt> with_new_ids(BuildState& state, const Nursery& nursery) {
  if (auto made = make_with_new_ids(state, nursery); !made) {
    return numbers_not_to_be_had(state, made.error());
  }
  return Attempt{true, {}, {}};
}

Result<Attempt> attempt(BuildState& state, const Nursery& nursery, Rung rung) {
  switch (rung) {
    case Rung::kSetTid:
      return by_set_tid(state, nursery);
    case Rung::kShortWalk:
    case Rung::kLongWalk:
      return by_counter(state, nursery, rung);
    case Rung::kNamespaces:
      return by_namespaces(state, nursery);
    case Rung::kNew:
      return with_new_ids(state, nursery);
  }
  return Attempt{};
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
  nursery.executable = executable_of(state.context, image.processes.front());
  nursery.descriptors = descriptors;
  for (const model::Process& process : image.processes) {
    const int executable = executable_of(state.context, process);
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

// What is in the way of the saved ids: nothing, or who has one of them. A stranger lets the options
// choose namespaces.
std::string find_obstacle(const BuildState& state, BuildOptions& options) {
  std::vector<Birth> births = walking_order(state.context.image, state.family);
  if (!options.restore_pids) {
    std::erase_if(births, [&](const Birth& birth) {
      return birth.thread != 0 || !exact_ids(state).contains(birth.id);
    });
  }
  const auto birth = find_held(state.family, births);
  if (!birth) return {};
  if (options.namespaces_if_strangers) {
    options.namespaces_if_held |= !may_be_original(state.context.image, birth->id);
  }
  return in_use(state.family, *birth);
}

}  // namespace

Result<void> give_birth(BuildState& state, const std::vector<int>& descriptors) {
  const Nursery nursery = TRY(make_nursery(state, descriptors));
  state.user_namespace = TRY(sys::read_link("/proc/self/ns/user"));
  TRY(plan(state));
  BuildOptions options = state.options;
  IdReasons reasons{.held = find_obstacle(state, options), .rungs = {}, .untraceable = {}};
  if (!options.restore_pids && !reasons.held.empty()) {
    return numbers_not_to_be_had(state, fail(EBUSY, reasons.held));
  }
  auto rungs = rungs_to_try(options, !reasons.held.empty());
  // Only there can the clocks be put forward.
  if (state.time) std::erase_if(rungs, [](Rung rung) { return rung != Rung::kNamespaces; });
  for (const Rung rung : rungs) {
    if (auto obstacle = trace::new_process_obstacle(rung == Rung::kNamespaces)) {
      reasons.rungs.push_back({rung, obstacle->message(), obstacle->hint});
      reasons.untraceable = std::move(obstacle);
      continue;
    }
    state.way = way_of(rung);
    TRY(plan(state));
    const Attempt done = TRY(attempt(state, nursery, rung));
    if (done.born) {
      if (rung == Rung::kNamespaces) note_namespaces(state, reasons);
      return {};
    }
    log::debug("ids, rung {}: {}", static_cast<int>(rung), done.why_not);
    reasons.rungs.push_back({rung, done.why_not, done.hint});
    abandon(state);
  }
  return no_rung_left(reasons);
}

}  // namespace stasis::restart
