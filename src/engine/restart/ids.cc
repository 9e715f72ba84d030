// The ladder: which rungs there are, and one attempt on each. An attempt that fails for its own
// reasons leaves nothing and the next rung is tried; the reasons are told together if none is left.
#include "restart/ids.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>

#include "base/log.h"
#include "base/sys.h"
#include "proc/status.h"
#include "resource/restore.h"
#include "restart/birth.h"
#include "restart/id_counter.h"
#include "restart/id_make.h"
#include "restart/namespaces.h"

namespace stasis::restart {
namespace {

constexpr int kLooks = 10;
constexpr long kLookAgainNs = 2'000'000;

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

// From the newborn at the gate to the root among the targets.
Result<void> raise_root(BuildState& state, const Nursery& nursery, Cradle cradle, Pid pid) {
  Born born =
      TRY(raise_newborn(pid, nursery.parent, cradle.plan, std::move(cradle.gate), nursery.scratch));
  if (!born.became) {
    const std::string why = born.obstacle.empty() ? "its file cannot be had" : born.obstacle;
    state.context.notes.push_back(
        fmt::format("/proc/PID/exe of process {} is not its program: {}", born.target.pid(), why));
  }
  TRY(note_root(state, std::move(born.target)));
  if (state.context.image.processes.size() == 1) return {};
  return create_shared_regions(state.targets.front(), state.context.image);
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

// The root: the only one that cannot be put off to the next round.
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
    drop_newborn(got, nursery.parent);
    cradle = TRY(prepare(state, nursery));  // it may have spoken through the gate already
  }
}

Result<Attempt> by_counter(BuildState& state, const Nursery& nursery) {
  Cradle cradle = TRY(prepare(state, nursery));
  CounterWalk walk = TRY(CounterWalk::begin());
  const auto pid = walk_to_root(state, cradle, nursery, walk);
  if (!pid) return Attempt{false, pid.error().message()};
  TRY(raise_root(state, nursery, std::move(cradle), *pid));
  std::vector<IdWant> wants = ids_in_walking_order(state.context.image);
  wants.erase(wants.begin());
  const auto made = make_by_walking(state, walk, std::move(wants));
  if (!made) return Attempt{false, made.error().message()};
  return Attempt{true, {}};
}

Result<Attempt> by_namespaces(BuildState& state, const Nursery& nursery) {
  Cradle cradle = TRY(prepare(state, nursery));
  cradle.plan.keep_capabilities = true;
  const auto pid = clone_newborn_in_namespaces(cradle.plan, cradle.gate, state.process(0).pid);
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

// The file that the root executes, as one of our descriptors; -1: it stays a copy of us.
int executable_of(BuildState& state, const model::Process& process) {
  if (!process.executable) return -1;
  const auto file = resource::mapping_descriptor(*process.executable, false, state.context);
  if (!file) return -1;  // raise_root() notes it
  const auto status = sys::fstat(*file);
  const bool plain =
      status && S_ISREG(status->st_mode) && (status->st_mode & (S_ISUID | S_ISGID)) == 0;
  return plain ? *file : -1;
}

// Targets parallel to the processes of the image, however they were born.
void sort_targets(BuildState& state) {
  std::vector<Target> sorted;
  sorted.reserve(state.targets.size());
  for (size_t i = 0; i < state.targets.size(); ++i)
    sorted.push_back(std::move(target_of(state, i)));
  state.targets = std::move(sorted);
}

bool is_held(const IdWant& want) {
  return proc::exists(want.id) || ::kill(want.id, 0) == 0 || ::kill(-want.id, 0) == 0;
}

// An id that somebody holds, and still does after a moment: most of what is met on a busy machine
// is about to end.
std::optional<IdWant> find_held(const std::vector<IdWant>& wants) {
  for (const IdWant& want : wants) {
    for (int look = 0; is_held(want); ++look) {
      if (look == kLooks) return want;
      const timespec pause = {.tv_sec = 0, .tv_nsec = kLookAgainNs};
      (void)::nanosleep(&pause, nullptr);  // waking early is harmless
    }
  }
  return std::nullopt;
}

std::string in_use(const IdWant& held) {
  return fmt::format("found pid {} in use by process {}", held.id, proc::describe(held.id));
}

void note_namespaces(BuildState& state, const std::optional<IdWant>& held,
                     const std::vector<std::string>& reasons) {
  std::string why = reasons.empty() ? "" : reasons.back();
  if (held) why = in_use(*held);
  state.context.notes.push_back(
      "restarted in private user, pid and mount namespaces: " +
      (why.empty() ? "the other ways to its ids would take too long" : why));
}

Error no_rung_left(const std::optional<IdWant>& held, const std::vector<std::string>& reasons) {
  std::string all;
  for (const std::string& reason : reasons) all += (all.empty() ? "" : "; ") + reason;
  const std::string hint = "--no-restore-pid restarts it with new ids";
  if (held) {
    std::string what =
        fmt::format("found pid {} in use by process {}", held->id, proc::describe(held->id));
    if (!all.empty()) what += fmt::format(" (and not elsewhere: {})", all);
    return fail(EBUSY, std::move(what), hint);
  }
  return fail(EBUSY, fmt::format("cannot have the ids of the image again: {}", all), hint);
}

}  // namespace

Result<void> give_birth(BuildState& state, const std::vector<int>& descriptors) {
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
  if (nursery.executable >= 0) nursery.descriptors.push_back(nursery.executable);

  const std::vector<IdWant> wants = ids_in_walking_order(image);
  const auto held = state.options.restore_pids ? find_held(wants) : std::nullopt;
  const bool short_walk = is_short_walk(ids_to_walk(TRY(last_id()), wants, TRY(id_limit())));
  std::vector<std::string> reasons;
  for (const IdWay way : ways_to_try(state.options, held.has_value(), short_walk)) {
    state.way = way;
    const Attempt done = TRY(attempt(state, nursery));
    if (done.born) {
      if (way == IdWay::kNamespaces) note_namespaces(state, held, reasons);
      sort_targets(state);
      return {};
    }
    log::debug("ids, rung {}: {}", static_cast<int>(way), done.why_not);
    reasons.push_back(done.why_not);
    state.targets.clear();  // kills what was made
    state.ids.clear();
    state.ids_inside.clear();
  }
  return no_rung_left(held, reasons);
}

}  // namespace stasis::restart
