// rebuild_memory(): the passes that turn an empty process into one with the image's address space.
// What is mapped how is decided in memory_plan.cc, contents in pages.cc, the vdso in vdso_home.cc.
#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include <algorithm>

#include "base/sys.h"
#include "proc/maps.h"
#include "resource/restore.h"
#include "resource/uses.h"
#include "restart/ids_patch.h"
#include "restart/layout.h"
#include "restart/memory_flags.h"
#include "restart/memory_plan.h"
#include "restart/pages.h"
#include "restart/passes.h"
#include "restart/unfulfilled.h"
#include "restart/vdso_home.h"

namespace stasis::restart {
namespace {

using Homes = std::map<model::ResourceIndex, RemoteAddr>;

class Rebuild {
 public:
  Rebuild(BuildState& state, size_t index)
      : state_(state),
        index_(index),
        target_(state.targets[index]),
        process_(state.process(index)),
        plan_{state.context.image,
              process_,
              [this](const model::Vma& vma) { return descriptor_of(vma); },
              {},
              kernel_knows_droppable()} {}

  Result<void> shared_memory() {
    plan_.shared_homes = TRY(shared_homes(image(), target_.scratch()));
    for (const model::ResourceIndex region : state_.family.members[index_].regions) {
      TRY(shared_contents(region));
    }
    return {};
  }

  Result<void> areas() {
    for (std::string& note : lost_marks(image(), process_, plan_.droppable_known)) {
      state_.context.notes.push_back(std::move(note));
    }
    (void)TRY(target_.run(TRY(areas_script(plan_))));
    return {};
  }

  Result<void> marks() {
    // The leader's stack page: its stack grows down from the end, this lies at the beginning.
    const RemoteAddr at = target_.stack_of(0) - kPageSize;
    TRY(target_.memory().write(at, marks_block(process_.memory, at)));
    (void)TRY(target_.run(marks_script(at)));
    return {};
  }

  Result<void> contents() {
    const model::SpaceIndex space = process_.memory.space;
    const auto pieces =
        TRY(pieces_of_memory(process_.memory, image().spaces[space], kLargestPiece));
    return copy(space, pieces);
  }

  Result<void> settle() {
    if (!plan_.shared_homes.empty()) {
      (void)TRY(target_.run(drop_shared_script(image(), plan_.shared_homes)));
    }
    TRY(allow_locking());
    const trace::Script script = settle_areas_script(plan_);
    note_unfulfilled("name memory ", script, TRY(target_.run(script)), process_.pid,
                     state_.context.notes);
    return {};
  }

 private:
  [[nodiscard]] const model::Image& image() const { return state_.context.image; }

  Result<int> descriptor_of(const model::Vma& vma) {
    const int ours = TRY(resource::mapping_descriptor(
                             *vma.resource, resource::maps_writable_shared(vma), state_.context)
                             .context(describe_area(image(), vma)));
    const auto found = state_.inherited.find(ours);
    if (found != state_.inherited.end()) return found->second;
    return fail(EBADF, fmt::format("{} was not inherited", describe_area(image(), vma)));
  }

  // The regions were mapped when it was made; whoever mapped them first fills them.
  Result<void> shared_contents(model::ResourceIndex region) {
    const auto& memory = std::get<model::SharedMemory>(image().resources[region]);
    return copy(memory.content, pieces_of_content(image().spaces[memory.content],
                                                  plan_.shared_homes.at(region), kLargestPiece));
  }

  Result<void> copy(model::SpaceIndex space, const std::vector<Piece>& pieces) {
    const auto raw = state_.inherited.find(state_.raw.fd);
    return copy_pages({.target = target_,
                       .source = state_.context.pages,
                       .space = space,
                       .pieces = pieces,
                       .raw = &state_.raw,
                       .raw_fd = raw == state_.inherited.end() ? -1 : raw->second,
                       .done = [this](u64 bytes) { return advance(bytes); }});
  }

  Result<void> advance(u64 bytes) {
    state_.bytes_done += bytes;
    const auto& progress = state_.options.progress;
    if (!progress || progress(state_.bytes_done, data_bytes(image()))) return {};
    return fail(ECANCELED, "cancelled");
  }

  // The saved limit comes later; as much as we may have will do for now.
  Result<void> allow_locking() {
    if (locked_bytes(process_) == 0 && process_.memory.lock_future == 0) return {};
    rlimit64 limit = {};
    TRY(sys::check(::prlimit64(target_.pid(), RLIMIT_MEMLOCK, nullptr, &limit), "read",
                   "the limit of locked memory"));
    limit.rlim_cur = limit.rlim_max;
    TRY(sys::check(::prlimit64(target_.pid(), RLIMIT_MEMLOCK, &limit, nullptr), "raise",
                   "the limit of locked memory"));
    return {};
  }

  BuildState& state_;
  size_t index_;
  Target& target_;
  const model::Process& process_;
  MemoryPlan plan_;
};

Result<void> rebuild(BuildState& state, size_t process) {
  Rebuild rebuild(state, process);
  TRY(rebuild.shared_memory());
  TRY(settle_vdso(state, process));
  TRY(rebuild.areas());
  TRY(rebuild.marks());
  TRY(rebuild.contents());
  TRY(patch_cached_ids(state, process));
  return rebuild.settle();
}

}  // namespace

u64 data_bytes(const model::Image& image) {
  u64 bytes = 0;
  for (const model::Process& process : image.processes) {
    for (const model::Run& run : image.spaces[process.memory.space].runs) {
      if (run.kind == model::RunKind::kData) bytes += run.length;
    }
  }
  for (const model::Resource& resource : image.resources) {
    const auto* memory = std::get_if<model::SharedMemory>(&resource);
    if (memory == nullptr) continue;
    for (const model::Run& run : image.spaces[memory->content].runs) {
      if (run.kind == model::RunKind::kData) bytes += run.length;
    }
  }
  return bytes;
}

Result<void> create_shared_regions(Target& target, const model::Image& image,
                                   const std::vector<model::ResourceIndex>& regions) {
  Homes homes = TRY(shared_homes(image, target.scratch()));
  std::erase_if(homes, [&](const auto& home) {
    return std::find(regions.begin(), regions.end(), home.first) == regions.end();
  });
  (void)TRY(target.run(shared_script(image, homes)));
  return {};
}

Result<void> rebuild_memory(BuildState& state, size_t process) {
  return rebuild(state, process)
      .context(fmt::format("memory of process {}", state.process(process).pid));
}

}  // namespace stasis::restart
