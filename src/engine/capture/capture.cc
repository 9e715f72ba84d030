// capture(): the passes from frozen processes to an image.
#include "capture/capture.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>

#include "base/sys.h"
#include "capture/areas.h"
#include "capture/builder.h"
#include "capture/carried_files.h"
#include "capture/choices.h"
#include "capture/facts.h"
#include "capture/ids.h"
#include "capture/inside.h"
#include "capture/runs.h"
#include "capture/sharing.h"
#include "capture/timers.h"
#include "capture/zombies.h"

namespace stasis::capture {
namespace {

constexpr std::string_view kAppeared = "state that cannot be saved appeared meanwhile";

Result<std::vector<proc::Area>> read_areas(trace::FrozenProcess& process) {
  auto areas = TRY(proc::read_smaps(process.any_live_tid()));
  const auto refusals = area_refusals(process.pid, areas);
  if (!refusals.empty()) return refused(kAppeared, refusals);
  return areas;
}

// mlockall(MCL_FUTURE) is a flag of the address space that nothing shows. What it leaves behind is:
// every area that can be locked is. (After MCL_CURRENT alone that holds until the next mmap.)
u64 lock_future_of(const std::vector<proc::Area>& areas) {
  bool on_fault = false;
  size_t locked = 0;
  for (const proc::Area& area : areas) {
    const bool special = area.has_flag("io") || area.has_flag("pf") || area.has_flag("de") ||
                         area.has_flag("ht") || area.has_flag("dp") || area.path == "[vsyscall]";
    if (special) continue;
    if (!area.has_flag("lo")) return 0;
    on_fault = on_fault || area.has_flag("lf");
    ++locked;
  }
  if (locked == 0) return 0;
  return on_fault ? u64{MCL_FUTURE | MCL_ONFAULT} : u64{MCL_FUTURE};
}

Result<void> capture_memory(Builder& builder, trace::FrozenProcess& process,
                            const std::vector<proc::Area>& areas, model::Process& into) {
  into.executable = TRY(builder.executable(process));
  into.memory.vmas = TRY(to_vmas(
      areas, [&](const proc::Area& area) { return builder.mapped_resource(process, area); }));
  into.memory.marks = TRY(memory_marks(process));
  into.memory.lock_future = lock_future_of(areas);
  into.memory.auxv = TRY(proc::read_auxv(process.any_live_tid()));
  into.memory.space = builder.add_space(fmt::format("memory of process {}", into.pid), 0);
  builder.image.spaces[into.memory.space].runs = TRY(memory_runs(process.any_live_tid(), areas));
  builder.pages.add_memory(into.memory.space, process.memory);
  return {};
}

// One living thread at a time is asked; the first also speaks for the process.
Result<void> capture_threads(Builder& builder, trace::FrozenProcess& process, model::Process& into,
                             std::map<Pid, Pid>& inside) {
  bool process_asked = false;
  for (trace::FrozenThread& thread : process.threads) {
    model::Thread captured = TRY(thread_facts(process, thread));
    if (!thread.zombie) {
      trace::RemoteCalls calls = TRY(trace::RemoteCalls::begin(process, thread));
      TRY(ask_thread(process, calls, captured));
      Asker ask(process, calls);
      TRY(note_keyrings(ask, thread.tid, builder.notes));
      if (!process_asked) {
        TRY(ask_process(process, calls, into));
        TRY(ask_timers(process, calls, into));
        TRY(builder.note_mapped_pages(process, calls));
        const auto zombies = TRY(zombies_of(process, calls, inside));
        auto& all = builder.image.zombies;
        all.insert(all.end(), zombies.begin(), zombies.end());
        process_asked = true;
      }
      TRY(calls.finish());
    }
    into.threads.push_back(std::move(captured));
  }
  return capture_signals(process, into);
}

}  // namespace

Result<Captured> capture(trace::Freeze& freeze, const CaptureOptions& options) {
  std::vector<Pid> pids;
  for (const trace::FrozenProcess& process : freeze.processes()) pids.push_back(process.pid);
  Builder builder(pids, options);

  std::vector<Refusal> refusals = sharing_refusals(pids, true);
  if (!refusals.empty()) return refused(kAppeared, refusals);
  TRY(builder.load_descriptors(refusals));
  if (!refusals.empty()) return refused(kAppeared, refusals);
  TRY(builder.capture_descriptors());

  std::map<Pid, Pid> inside;
  for (trace::FrozenProcess& process : freeze.processes()) {
    model::Process captured = TRY(process_facts(process));
    const auto areas = TRY(read_areas(process));
    if (builder.image.processes.empty()) {
      builder.image.origin = TRY(origin_facts(process, areas));
    }
    for (std::string& note : area_notes(process.pid, areas)) {
      builder.notes.push_back(std::move(note));
    }
    TRY(capture_memory(builder, process, areas, captured));
    TRY(capture_threads(builder, process, captured, inside));
    captured.descriptors = builder.descriptors(process.pid);
    for (size_t i = 0; i < process.threads.size(); ++i) {
      inside[process.threads[i].tid] = captured.threads[i].tid;
    }
    // Frozen in the order of our ids; in namespaces below ours their own may ascend otherwise.
    std::sort(captured.threads.begin() + 1, captured.threads.end(),
              [](const auto& a, const auto& b) { return a.tid < b.tid; });
    builder.image.processes.push_back(std::move(captured));
  }
  builder.connect_mapped_contents();
  TRY(carry_files(builder, options));
  translate_ids(builder.image, inside);
  return Captured{.image = std::move(builder.image),
                  .pages = std::make_unique<LivePages>(std::move(builder.pages)),
                  .notes = std::move(builder.notes)};
}

}  // namespace stasis::capture
