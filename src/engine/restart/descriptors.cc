// Descriptors of a process: from the numbers where they were parked to their own, everything else
// closed; and, when all processes have theirs, the calls that settle them.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/syscall.h>

#include "resource/restore.h"
#include "restart/descriptors.h"
#include "restart/unfulfilled.h"

namespace stasis::restart {
namespace {

void close_range(trace::Script& script, u64 first, u64 last) {
  if (first > last) return;
  script.call("close what was inherited", SYS_close_range, {first, last, u64{0}});
}

}  // namespace

Result<void> place_descriptors(BuildState& state, size_t process) {
  trace::Script script;
  u64 next = 0;  // everything below is dealt with
  trace::Script closing;
  for (const model::Descriptor& descriptor : state.process(process).descriptors) {
    const auto number = static_cast<u64>(descriptor.number);
    const int ours = state.open_files.at(descriptor.open_file);
    const auto parked = static_cast<u64>(state.inherited.at(ours));
    script.call(fmt::format("open descriptor {}", number), SYS_dup3,
                {parked, number, u64{descriptor.close_on_exec ? u32{O_CLOEXEC} : 0}});
    if (number > 0) close_range(closing, next, number - 1);
    next = number + 1;
  }
  close_range(closing, next, ~u32{0});
  TRY(state.targets[process].run(script));
  TRY(state.targets[process].run(closing));
  return {};
}

Result<void> settle_descriptors(BuildState& state, size_t process) {
  const model::Process& image = state.process(process);
  trace::Script script;
  resource::SettleCalls calls{.pid = state.ids_inside.at(image.pid),
                              .script = &script,
                              .process = image,
                              .ids = state.way == IdWay::kNew ? &state.ids_inside : nullptr};
  resource::settle(state.context, calls);
  const auto outcome = TRY(state.targets[process].run(script).context(
      fmt::format("while settling the descriptors of process {}", image.pid)));
  note_unfulfilled("set the owner of ", script, outcome, image.pid, state.context.notes);
  return {};
}

}  // namespace stasis::restart
