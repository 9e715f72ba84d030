// One script a creator: [pass over some ids,] clone3, ... and the adoption of what it made. The ids
// in results are those the creator sees; in a private pid namespace ours differ and are looked up.
#include "restart/id_make.h"

#include <fmt/format.h>
#include <linux/sched.h>
#include <signal.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cstddef>

#include "arch/registers.h"
#include "base/sys.h"
#include "proc/status.h"
#include "stub/stub.h"
#include "trace/ptrace.h"

namespace stasis::restart {
namespace {

constexpr u64 kThreadFlags = u64{CLONE_VM} | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
                             CLONE_SYSVSEM | CLONE_SETTLS | CLONE_PTRACE;
constexpr u64 kStackSize = 512;  // of the slot; enough for the stub

std::string name_of(const IdWant& want) {
  return fmt::format("{} {}", want.thread == 0 ? "process" : "thread", want.id);
}

// struct clone_args for a want, as data of the script.
Result<trace::DataRef> clone_arguments(const BuildState& state, const Target& creator,
                                       const IdWant& want, size_t slot, IdDemand demand,
                                       trace::Script& script) {
  clone_args arguments = {};
  if (want.thread == 0) {
    arguments.flags = CLONE_PTRACE;
    arguments.exit_signal = SIGCHLD;
  } else {
    const model::Thread& thread = state.process(want.process).threads[want.thread];
    const auto registers = TRY(arch::from_bytes(thread.registers.general));
    arguments.flags = kThreadFlags;
    if (thread.tid_address) arguments.flags |= CLONE_CHILD_CLEARTID;
    arguments.child_tid = thread.tid_address.value;
    arguments.tls = arch::thread_pointer(registers).value;
    arguments.stack = (creator.stack_of(slot) - kStackSize).value;
    arguments.stack_size = kStackSize;
  }
  if (demand == IdDemand::kSetTid) arguments.set_tid_size = 1;
  const trace::DataRef data = script.object(arguments);
  if (demand == IdDemand::kSetTid) {
    script.point(data, offsetof(clone_args, set_tid), script.object(want.id));
  }
  return data;
}

struct Plan {
  trace::Script script;
  std::vector<size_t> clones;  // index of the operation that makes orders[i]
};

Result<Plan> plan_script(const BuildState& state, const Target& creator, IdDemand demand,
                         std::span<const Order> orders) {
  Plan plan;
  size_t slot = creator.threads().size();
  for (const Order& order : orders) {
    if (order.pass != 0) {
      plan.script.burn(fmt::format("pass over id {}", order.pass), order.pass, order.tries);
    }
    const trace::DataRef arguments =
        TRY(clone_arguments(state, creator, order.want, slot, demand, plan.script));
    std::vector<trace::Argument> args = {arguments, u64{CLONE_ARGS_SIZE_VER1}};
    const std::string what = fmt::format("make {}", name_of(order.want));
    plan.clones.push_back(demand == IdDemand::kExpect
                              ? plan.script.expect(what, order.want.id, SYS_clone3, std::move(args))
                              : plan.script.call(what, SYS_clone3, std::move(args)));
    if (order.want.thread != 0) ++slot;
  }
  return plan;
}

// A thread or process that got a wrong id: lets it exit before it ran.
Result<void> remove(const Target& creator, Pid tid) {
  const RemoteAddr call = arch::find_call(stub::code(), creator.scratch().start);
  TRY(trace::wait_for(tid, true));
  arch::Registers registers = TRY(trace::get_registers(tid));
  arch::set_call(registers, call, SYS_exit, {});
  TRY(trace::set_registers(tid, registers));
  TRY(trace::resume(tid));
  while (TRY(trace::wait_for(tid, true)).alive()) TRY(trace::resume(tid));
  return {};
}

// Id as the creator sees it -> as we see it, for all tasks of the creator and its children.
Result<std::map<Pid, Pid>> look_up_ids(Pid creator) {
  std::map<Pid, Pid> ids;
  for (const Pid tid : TRY(proc::read_threads(creator))) {
    ids[TRY(proc::read_status(creator, tid)).namespace_pids.back()] = tid;
  }
  for (const Pid child : TRY(proc::read_children(creator))) {
    ids[TRY(proc::read_status(child)).namespace_pids.back()] = child;
  }
  return ids;
}

void note(BuildState& state, const IdWant& want, Pid outside, Pid inside) {
  const model::Process& process = state.process(want.process);
  const Pid saved = want.thread == 0 ? process.pid : process.threads[want.thread].tid;
  state.ids[saved] = outside;
  state.ids_inside[saved] = inside;
}

Result<void> adopt(BuildState& state, Target& creator, const IdWant& want, Pid outside,
                   Pid inside) {
  const trace::Stop stop = TRY(trace::wait_for(outside, true));
  if (!stop.alive()) return fail(ESRCH, fmt::format("{} died as it was made", name_of(want)));
  note(state, want, outside, inside);
  if (want.thread != 0) {
    creator.add_thread(outside);
  } else {
    state.targets.emplace_back(outside, creator.scratch(), TRY(trace::RemoteMemory::open(outside)));
  }
  return {};
}

}  // namespace

Target& target_of(BuildState& state, size_t process) {
  const Pid pid = state.ids.at(state.process(process).pid);
  return *std::find_if(state.targets.begin(), state.targets.end(),
                       [&](const Target& target) { return target.pid() == pid; });
}

size_t creator_of(const model::Image& image, const IdWant& want) {
  if (want.thread != 0) return want.process;
  const Pid parent = image.processes[want.process].parent;
  for (size_t i = 0; i < image.processes.size(); ++i) {
    if (image.processes[i].pid == parent) return i;
  }
  return 0;  // its parent is not in the image: the root stands in
}

Result<Made> make(BuildState& state, IdDemand demand, std::span<const Order> orders) {
  if (orders.empty()) return Made{};
  Target& creator = target_of(state, creator_of(state.context.image, orders.front().want));
  const Plan plan = TRY(plan_script(state, creator, demand, orders));
  const trace::ScriptRun run = TRY(creator.run_partly(plan.script));

  Made made;
  std::map<Pid, Pid> ours;
  if (state.way == IdWay::kNamespaces) ours = TRY(look_up_ids(creator.pid()));
  const auto outside = [&](Pid inside) {
    const auto found = ours.find(inside);
    return found == ours.end() ? inside : found->second;
  };
  for (size_t i = 0; i < orders.size() && plan.clones[i] < run.done; ++i) {
    const Pid inside = static_cast<Pid>(run.results[plan.clones[i]]);
    TRY(adopt(state, creator, orders[i].want, outside(inside), inside));
    made.last = inside;
    ++made.count;
  }
  if (run.done == plan.script.size()) return made;
  const i64 answer = run.results[run.done];
  if (answer < 0) {
    made.code = static_cast<int>(-answer);
    return made;
  }
  made.missed = true;
  made.last = static_cast<Pid>(answer);
  const bool cloned = std::binary_search(plan.clones.begin(), plan.clones.end(), run.done);
  if (cloned) TRY(remove(creator, outside(made.last)));
  return made;
}

Result<void> make_all(BuildState& state, IdDemand demand) {
  const model::Image& image = state.context.image;
  for (size_t process = 0; process < image.processes.size(); ++process) {
    std::vector<Order> orders;
    const auto finish = [&]() -> Result<void> {
      const Made made = TRY(make(state, demand, orders));
      if (made.count == orders.size()) return {};
      return sys::error_of(made.code, "make", name_of(orders[made.count].want));
    };
    if (process > 0) {
      orders = {{.want = {image.processes[process].pid, process, 0}}};
      TRY(finish());
    }
    orders.clear();
    const auto& threads = image.processes[process].threads;
    for (size_t i = 1; i < threads.size(); ++i) {
      orders.push_back({.want = {threads[i].tid, process, i}});
    }
    TRY(finish());
  }
  return {};
}

Result<void> note_root(BuildState& state, Target target) {
  const Pid outside = target.pid();
  const Pid inside = state.way == IdWay::kNamespaces
                         ? TRY(proc::read_status(outside)).namespace_pids.back()
                         : outside;
  state.targets.clear();
  state.targets.reserve(state.context.image.processes.size());  // references to them must stay
  state.targets.push_back(std::move(target));
  note(state, {inside, 0, 0}, outside, inside);
  return {};
}

}  // namespace stasis::restart
