// build(): the passes of a restart in their order. On an error everybody made so far is killed and
// reaped.
// Essay: docs/design/restart.md.
#include "restart/build.h"

#include <cerrno>

#include "resource/restore.h"
#include "resource/uses.h"
#include "restart/become.h"
#include "restart/choices.h"
#include "restart/clocks.h"
#include "restart/control_blocks.h"
#include "restart/descriptors.h"
#include "restart/groups.h"
#include "restart/ids.h"
#include "restart/passes.h"
#include "restart/release.h"
#include "restart/transients.h"

namespace stasis::restart {
namespace {

using Pass = Result<void> (*)(BuildState& state, size_t process);

// Each pass is done for all processes before the next one begins: all are complete before any of
// them runs.
constexpr Pass kPasses[] = {
    take_rights,     // user and group ids, before anything of the image is asked for
    rebuild_memory,  // areas, contents, vdso home
    rebuild_control_block,
    place_descriptors,   // needs no limit on their number yet
    rebuild_attributes,  // limits, actions, timers, pending signals, ...
    rebuild_threads,     // what threads set for themselves
    rebuild_choices,     // ... and what may be lost with a word
    settle_descriptors,  // epoll members, locks, timers
    finish_process,      // the scratch area goes; registers
    prepare_release,     // what they find as they begin to run
};

// Everything that the targets are to inherit exists before the first of them: open files, files
// behind mappings, and the image itself where they can read from it.
std::vector<int> collect_descriptors(BuildState& state) {
  resource::RestoreContext& context = state.context;
  std::vector<int> descriptors = state.open_files;
  for (const auto& [key, fd] : context.made) descriptors.push_back(fd.get());
  if (state.raw.fd >= 0) descriptors.push_back(state.raw.fd);
  std::erase_if(descriptors, [](int fd) { return fd < 0; });
  return descriptors;
}

Built describe(BuildState& state) {
  const Pid root = state.process(0).pid;
  Built built{.root = state.ids.at(root),
              .root_inside = state.ids_inside.at(root),
              .way = state.way,
              .pids = {},
              .blocks = std::move(state.blocks)};
  for (const model::Process& process : state.context.image.processes) {
    built.pids.push_back(state.ids.at(process.pid));
  }
  return built;
}

// Only the processes of the image are left; they are in its order from here on.
void settle_family(BuildState& state) {
  for (auto& [member, target] : state.born) state.targets.push_back(std::move(target));
  state.born.clear();
}

// As root by a time namespace alone; else the namespaces of the ladder bring one.
Result<void> give_birth_in_time(BuildState& state, const std::vector<int>& descriptors) {
  const model::Origin& origin = state.context.image.origin;
  const ClocksHere here = clocks_here();
  const auto wanted = wanted_offsets(origin, here);
  state.context.clocks = clocks_with(origin, here, wanted ? *wanted : here.offsets);
  if (!wanted) return give_birth(state, descriptors);
  const auto time = TimeForChildren::begin(*wanted);
  if (time) return give_birth(state, descriptors);
  std::string why_not = time.error().message();
  if (state.options.restore_pids && state.options.allow_namespaces) {
    state.time = wanted;
    const auto born = give_birth(state, descriptors);
    if (born || (born.error().code != EBUSY && born.error().code != EPERM)) return born;
    why_not = born.error().message();
    abandon(state);
    state.time.reset();
  }
  state.context.notes.push_back(behind_note(origin, here, why_not));
  state.context.clocks = clocks_with(origin, here, here.offsets);
  return give_birth(state, descriptors);
}

Result<Built> bring_up(BuildState& state) {
  TRY(give_birth_in_time(state, collect_descriptors(state)));
  TRY(form_groups(state));
  TRY(end_transients(state));
  settle_family(state);
  const size_t processes = state.targets.size();
  for (const Pass pass : kPasses) {
    for (size_t process = 0; process < processes; ++process) TRY(pass(state, process));
  }
  let_live(state);
  // Children first: nobody may miss a parent that has run and gone already.
  for (size_t process = processes; process-- > 0;) TRY(release_process(state, process));
  return describe(state);
}

// Every path of the image is used here, with the rights of its users: open files, and what areas
// map, asked for now so that nothing is left to be opened later.
Result<resource::Restored> create_files(resource::RestoreContext& context) {
  const resource::Acting acting = TRY(resource::act_for_all(context));
  resource::Restored restored = TRY(resource::create_open_files(context));
  for (const model::Process& process : context.image.processes) {
    for (const model::Vma& vma : process.memory.vmas) {
      if (!vma.resource) continue;
      if (std::holds_alternative<model::SharedMemory>(context.image.resources[*vma.resource])) {
        continue;
      }
      TRY(resource::mapping_descriptor(*vma.resource, resource::maps_writable_shared(vma),
                                       context));
    }
    if (process.executable) (void)executable_of(context, process);
  }
  return restored;
}

}  // namespace

Result<Built> build(resource::RestoreContext& context, const RawAccess& raw,
                    const BuildOptions& options) {
  if (context.image.processes.empty()) return fail(EINVAL, "the image holds no process");
  BuildState state{.context = context, .raw = raw, .options = options};
  const resource::Restored restored = TRY(create_files(context));
  for (const UniqueFd& file : restored.open_files) state.open_files.push_back(file.get());

  auto built = bring_up(state);
  if (!built) abandon(state);
  return built;
}

}  // namespace stasis::restart
