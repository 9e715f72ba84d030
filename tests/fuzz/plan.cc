// Plans are asked for also where a restart would have been refused: nothing they say may matter
// then, but they may not fail either.
#include "plan.h"

#include <algorithm>
#include <set>

#include "arch/cpu_features.h"
#include "arch/vdso.h"
#include "restart/clocks.h"
#include "restart/family.h"
#include "restart/foresee.h"
#include "restart/layout.h"
#include "restart/memory_plan.h"
#include "restart/signals.h"
#include "restart/timers.h"
#include "restart/trust.h"
#include "restart/validate.h"
#include "target.h"

namespace stasis::fuzz {
namespace {

using restart::Family;
using restart::Layout;

constexpr Pid kOurGroup = 3, kOurSession = 2;

restart::Machine this_machine(const model::Image& image) {
  restart::Machine machine;
  machine.architecture = image.origin.architecture;
  machine.page_size = kPageSize;
  machine.xcr0 = arch::xcr0();
  machine.extended_state_size = arch::extended_state_size();
  machine.lowest_address = 65536;
  machine.root_directory = std::string("/");  // gcc 12 warns of a plain literal
  machine.limits = {{0, 1, 2}, {7, 1024, 4096}, {8, 4096, 65536}};
  return machine;
}

void check_refusals(const model::Image& image) {
  const restart::Machine machine = this_machine(image);
  (void)restart::machine_obstacles(image, machine, false);
  (void)restart::memory_obstacles(image, machine);
  for (const model::Process& process : image.processes) {
    (void)restart::process_obstacles(process, machine);
    (void)restart::detail_obstacles(image, process, machine);
  }
  const auto trust =
      restart::judge(image, {.is_file = true, .owner = 5, .mode = 0600}, {}, [](u32) {
        return std::optional(std::vector<u32>{5, 6});
      });
  for (const model::Process& process : image.processes) {
    const auto& uids = process.credentials.uids;
    const bool all_his = std::ranges::all_of(uids, [](u32 uid) { return uid == 5; });
    require(!trust.refusals.empty() || (uids.size() == 4 && all_his),
            "of a user's image only processes of that user are made by root");
  }
}

void check_family(const model::Image& image, const Family& family) {
  const size_t saved = image.processes.size() + image.zombies.size();
  require(family.members.size() >= saved, "all processes are made");
  require(restart::makers_first(family).size() == family.members.size(), "each has a maker");
  std::set<Pid> ids;
  for (const auto& birth : restart::births_of(image, family)) {
    require(birth.id > 0, "an id is positive");
    require(ids.insert(birth.id).second, "no id is given twice");
  }
  require(restart::walking_order(image, family).size() == ids.size(), "all can be born");
}

void check_families(const model::Image& image) {
  for (const bool groups : {false, true}) {
    for (const bool sessions : {false, true}) {
      const auto family = restart::plan_family(image, {groups, sessions, kOurGroup, kOurSession});
      if (family) check_family(image, *family);
    }
  }
}

void check_memory(const model::Image& image) {
  constexpr u64 kScratch = u64{1} << 20;
  const Layout layout(image);
  const auto hole = layout.hole(kScratch);
  if (!hole) return;
  require(layout.is_free(*hole, kScratch), "a hole is free");
  const auto homes = restart::shared_homes(image, {*hole, kScratch});
  if (!homes) return;
  (void)restart::shared_script(image, *homes);
  (void)restart::drop_shared_script(image, *homes);
  for (const model::Process& process : image.processes) {
    const restart::MemoryPlan plan{.image = image,
                                   .process = process,
                                   .descriptor = [](const model::Vma&) { return 3; },
                                   .shared_homes = *homes};
    const auto script = restart::areas_script(plan);
    require(script.ok(), "areas can be mapped");
    (void)script->serialise(*hole);
    (void)restart::settle_areas_script(plan).serialise(*hole);
    (void)restart::marks_block(process.memory, *hole);
  }
}

void check_times(const model::Image& image) {
  const restart::ClocksHere here{
      .boot_id = "", .offsets = {7, 7}, .monotonic_ns = 100, .boottime_ns = 200};
  const auto wanted = restart::wanted_offsets(image.origin, here);
  if (!wanted) return;
  require(wanted->monotonic_ns >= 7 && wanted->boottime_ns >= 7, "clocks never go back");
  (void)restart::clocks_with(image.origin, here, *wanted);
  (void)restart::behind_note(image.origin, here, "");
  (void)restart::offsets_text(*wanted);
}

void check_scripts(const model::Process& process) {
  trace::Script script;
  restart::add_actions(process, script);
  restart::add_interval_timers(process, script);
  restart::add_pending(process.pending, process.pid, script);
  for (const model::Thread& thread : process.threads) {
    restart::add_thread_pending(thread.pending, process.pid, thread.tid, script);
  }
  (void)restart::timer_steps(process, {}, true);
  (void)restart::timer_steps(process, {}, false);
  (void)script.serialise({0x10000});
}

void check_machine_state(const model::Image& image) {
  (void)arch::redirect_vdso(image.origin.vdso, image.origin.vdso, {0x10000});
  const Bytes fresh(std::max<u64>(arch::extended_state_size(), 576));
  for (const model::Process& process : image.processes) {
    check_scripts(process);
    for (const model::Thread& thread : process.threads) {
      const auto adapted = arch::adapt_extended_state(thread.registers.extended, fresh);
      if (adapted) require(adapted->size() == fresh.size(), "registers have this machine's size");
      (void)arch::components_in_use(thread.registers.extended);
      (void)arch::canonical_extended_state(thread.registers.extended);
    }
  }
}

}  // namespace

void check_plan(const model::Image& image) {
  check_refusals(image);
  check_families(image);
  check_memory(image);
  check_times(image);
  check_machine_state(image);
}

}  // namespace stasis::fuzz
