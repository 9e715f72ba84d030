// One script a maker: [pass over some ids,] clone3, ... and the adoption of what it made. The ids
// in results are those the maker sees; in a private pid namespace ours differ and are looked up.
#include "restart/id_make.h"

#include <fmt/format.h>
#include <linux/sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>

#include "arch/registers.h"
#include "base/sys.h"
#include "proc/status.h"
#include "restart/become.h"
#include "restart/transients.h"
#include "stub/stub.h"
#include "trace/ptrace.h"

namespace stasis::restart {
namespace {

constexpr u64 kThreadFlags = u64{CLONE_VM} | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
                             CLONE_SYSVSEM | CLONE_SETTLS | CLONE_PTRACE;
constexpr u64 kStackSize = 512;  // of the slot; enough for the stub

// struct clone_args for a birth, as data of the script.
Result<trace::DataRef> clone_arguments(const BuildState& state, const Target& maker,
                                       const Birth& birth, size_t slot, IdDemand demand,
                                       trace::Script& script) {
  clone_args arguments = {};
  if (birth.thread == 0) {
    const Member& member = state.family.members[birth.member];
    arguments.flags = CLONE_PTRACE | (member.sibling ? u64{CLONE_PARENT} : 0);
    // The kernel gives a sibling its maker's.
    arguments.exit_signal = member.sibling ? 0 : static_cast<u64>(member.exit_signal);
  } else {
    const model::Thread& thread = state.process(birth.member).threads[birth.thread];
    const auto registers = TRY(arch::from_bytes(thread.registers.general));
    arguments.flags = kThreadFlags;
    if (thread.tid_address) arguments.flags |= CLONE_CHILD_CLEARTID;
    arguments.child_tid = thread.tid_address.value;
    arguments.tls = arch::thread_pointer(registers).value;
    arguments.stack = (maker.stack_of(slot) - kStackSize).value;
    arguments.stack_size = kStackSize;
  }
  if (demand == IdDemand::kSetTid) arguments.set_tid_size = 1;
  const trace::DataRef data = script.object(arguments);
  if (demand == IdDemand::kSetTid) {
    script.point(data, offsetof(clone_args, set_tid), script.object(birth.id));
  }
  return data;
}

struct Plan {
  trace::Script script;
  std::vector<size_t> clones;  // index of the operation that makes orders[i]
};

Result<Plan> plan_script(const BuildState& state, const Target& maker, IdDemand demand,
                         std::span<const Order> orders) {
  Plan plan;
  size_t slot = maker.threads().size();
  const std::set<Pid> numbers = exact_ids(state);
  for (const Order& order : orders) {
    const bool exact = order.birth.thread == 0 && numbers.contains(order.birth.id);
    const IdDemand its = exact && demand == IdDemand::kAny ? IdDemand::kSetTid : demand;
    if (order.pass != 0) {
      plan.script.burn(fmt::format("pass over id {}", order.pass), order.pass, order.tries);
    }
    const trace::DataRef arguments =
        TRY(clone_arguments(state, maker, order.birth, slot, its, plan.script));
    std::vector<trace::Argument> args = {arguments, u64{CLONE_ARGS_SIZE_VER1}};
    const std::string what = "make " + name_of(state.family, order.birth);
    plan.clones.push_back(
        demand == IdDemand::kExpect
            ? plan.script.expect(what, order.birth.id, SYS_clone3, std::move(args))
            : plan.script.call(what, SYS_clone3, std::move(args)));
    if (order.birth.thread != 0) ++slot;
  }
  return plan;
}

// A thread that got a wrong id: lets it exit before it ran.
Result<void> drop_thread(const Target& maker, Pid tid) {
  const RemoteAddr call = arch::find_call(stub::code(), maker.scratch().start);
  TRY(trace::wait_for(tid, true));
  arch::Registers registers = TRY(trace::get_registers(tid));
  arch::set_call(registers, call, SYS_exit, {});
  TRY(trace::set_registers(tid, registers));
  TRY(trace::resume(tid));
  while (TRY(trace::wait_for(tid, true)).alive()) TRY(trace::resume(tid));
  return {};
}

Result<void> drop(BuildState& state, Target& maker, const Birth& birth, Pid outside, Pid inside) {
  if (birth.thread != 0) return drop_thread(maker, outside);
  return drop_child(maker, state.family.members[birth.member], outside, inside);
}

// Ids as those see them that may be new -> as we see them: tasks of the maker, its children, and
// ours (its siblings). Nothing where they are the same.
Result<std::map<Pid, Pid>> look_up_ids(const BuildState& state, Pid maker) {
  std::map<Pid, Pid> ids;
  if (state.way != IdWay::kNamespaces) return ids;
  for (const Pid tid : TRY(proc::read_threads(maker))) {
    ids[TRY(proc::read_status(maker, tid)).namespace_pids.back()] = tid;
  }
  std::vector<Pid> others = TRY(proc::read_children(maker));
  const std::vector<Pid> ours = TRY(proc::read_children(::getpid()));
  others.insert(others.end(), ours.begin(), ours.end());
  for (const Pid pid : others) {
    const auto status = proc::read_status(pid);  // a child of ours that is none of these may end
    if (status && status->namespace_pids.size() > 1) ids[status->namespace_pids.back()] = pid;
  }
  return ids;
}

void note(BuildState& state, const Birth& birth, Pid outside, Pid inside) {
  if (birth.thread == 0) state.own_ids[outside] = inside;
  state.readiness->note(birth);
  if (state.family.members[birth.member].role == Role::kStandIn) return;
  state.ids[birth.id] = outside;
  state.ids_inside[birth.id] = inside;
}

// Consumes its first stop.
Result<void> adopt(BuildState& state, Target& maker, const Birth& birth, Pid outside, Pid inside) {
  const trace::Stop stop = TRY(trace::wait_for(outside, true));
  if (!stop.alive()) {
    return fail(ESRCH, fmt::format("{} died as it was made", name_of(state.family, birth)));
  }
  if (birth.thread != 0) {
    maker.add_thread(outside);
  } else {
    state.born.emplace(birth.member,
                       Target(outside, maker.scratch(), TRY(trace::RemoteMemory::open(outside))));
  }
  note(state, birth, outside, inside);
  return {};
}

// All births of one maker that are possible now, but for stand-ins, which are made at once.
Result<void> make_ready(BuildState& state, IdDemand demand, const std::vector<Birth>& births) {
  std::vector<Order> orders;
  for (const Birth& birth : births) {
    const bool is_there = birth.thread == 0 && state.readiness->exists(birth.member);
    if (is_there || !state.readiness->is_ready(birth)) continue;
    if (birth.thread == 0 && state.family.members[birth.member].role == Role::kStandIn) {
      TRY(make_stand_in(state, birth.member));
    } else {
      orders.push_back({.birth = birth});
    }
  }
  const Made made = TRY(make(state, demand, orders));
  if (made.count == orders.size()) return {};
  return sys::error_of(made.code, "make", name_of(state.family, orders[made.count].birth));
}

}  // namespace

std::string name_of(const Family& family, const Birth& birth) {
  if (birth.thread != 0) return fmt::format("thread {}", birth.id);
  switch (family.members[birth.member].role) {
    case Role::kProcess:
      return fmt::format("process {}", birth.id);
    case Role::kZombie:
      return fmt::format("zombie {}", birth.id);
    case Role::kStandIn:
      return "a parent of orphans";
    case Role::kGhost:
      return fmt::format("a leader for {} {}",
                         family.members[birth.member].leads_session ? "session" : "process group",
                         birth.id);
  }
  return "a process";
}

std::set<Pid> exact_ids(const BuildState& state) {
  std::set<Pid> ids;
  if (state.options.restore_pids) return ids;
  for (const Member& member : state.family.members) {
    if (member.leads_session) ids.insert(member.id);
    if (member.group != 0) ids.insert(member.group);
  }
  return ids;
}

Result<Made> make(BuildState& state, IdDemand demand, std::span<const Order> orders) {
  if (orders.empty()) return Made{};
  const size_t maker_index = maker_of(state.family, orders.front().birth);
  Target& maker = state.born.at(maker_index);
  const Plan plan = TRY(plan_script(state, maker, demand, orders));
  const trace::ScriptRun run = TRY(maker.run_partly(plan.script));

  Made made;
  const std::map<Pid, Pid> ours = TRY(look_up_ids(state, maker.pid()));
  const auto outside = [&](Pid inside) {
    const auto found = ours.find(inside);
    return found == ours.end() ? inside : found->second;
  };
  for (size_t i = 0; i < orders.size() && plan.clones[i] < run.done; ++i) {
    const Pid inside = static_cast<Pid>(run.results[plan.clones[i]]);
    TRY(adopt(state, maker, orders[i].birth, outside(inside), inside));
    made.last = inside;
    ++made.count;
  }
  for (const Order& order : orders.first(made.count)) {
    if (order.birth.thread == 0) TRY(settle_in(state, order.birth.member));
  }
  TRY(begin_session_when_ready(state, maker_index));
  if (run.done == plan.script.size()) return made;
  const i64 answer = run.results[run.done];
  if (answer < 0) {
    made.code = static_cast<int>(-answer);
    return made;
  }
  made.missed = true;
  made.last = static_cast<Pid>(answer);
  const bool cloned = std::binary_search(plan.clones.begin(), plan.clones.end(), run.done);
  if (cloned) {
    TRY(drop(state, maker, orders[made.count].birth, outside(made.last), made.last));
  }
  return made;
}

Result<Pid> make_stand_in(BuildState& state, size_t member) {
  const std::vector<Birth> all = births_of(state.context.image, state.family);
  Target& maker = state.born.at(state.family.members[member].maker);
  const Order order = {.birth = {state.family.members[member].id, member, 0}};
  const Plan plan = TRY(plan_script(state, maker, IdDemand::kAny, std::span(&order, 1)));
  const auto is_wanted = [&](Pid id) {
    return state.way != IdWay::kNew && std::any_of(all.begin(), all.end(), [&](const Birth& birth) {
             return birth.id == id && birth.member != member;
           });
  };
  // The kernel gives ascending ids, so that the wanted ones end.
  for (size_t tries = 0; tries <= all.size(); ++tries) {
    const trace::ScriptOutcome outcome = TRY(maker.run(plan.script));
    const Pid inside = static_cast<Pid>(outcome.results.front());
    const std::map<Pid, Pid> ours = TRY(look_up_ids(state, maker.pid()));
    const Pid outside = ours.contains(inside) ? ours.at(inside) : inside;
    if (is_wanted(inside)) {
      TRY(drop_child(maker, state.family.members[member], outside, inside));
      continue;
    }
    TRY(adopt(state, maker, order.birth, outside, inside));
    TRY(settle_in(state, member));
    TRY(begin_session_when_ready(state, state.family.members[member].maker));
    return inside;
  }
  return fail(EBUSY, "the kernel gives only ids that the image needs");
}

Result<void> make_all(BuildState& state, IdDemand demand) {
  std::map<size_t, std::vector<Birth>> births;
  for (const Birth& birth : births_of(state.context.image, state.family)) {
    if (birth.thread != 0 || birth.member != 0) {
      births[maker_of(state.family, birth)].push_back(birth);
    }
  }
  for (const size_t maker : makers_first(state.family)) {
    const auto theirs = births.find(maker);
    if (theirs == births.end()) continue;
    const bool in_two_steps = !state.readiness->may_begin_session(maker);
    TRY(make_ready(state, demand, theirs->second));
    if (in_two_steps) {
      std::erase_if(theirs->second, [](const Birth& birth) { return birth.thread != 0; });
      TRY(make_ready(state, demand, theirs->second));
    }
  }
  return {};
}

Result<void> note_first(BuildState& state, Target target) {
  const Pid outside = target.pid();
  const Pid inside = state.way == IdWay::kNamespaces
                         ? TRY(proc::read_status(outside)).namespace_pids.back()
                         : outside;
  state.readiness.emplace(state.family);
  state.born.clear();
  state.born.emplace(0, std::move(target));
  note(state, {state.family.members.front().id, 0, 0}, outside, inside);
  return settle_in(state, 0);
}

}  // namespace stasis::restart
