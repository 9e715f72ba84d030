// Writes a few numbers into rebuilt memory. A block that is not what it should be is left alone:
// the engine would not find it either.
#include "restart/control_blocks.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <stasis/handshake.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "base/log.h"
#include "base/sys.h"
#include "proc/status.h"

namespace stasis::restart {
namespace {

bool is_block(const cri_block& block, RemoteAddr address) {
  return std::memcmp(block.magic, CRI_BLOCK_MAGIC, sizeof block.magic) == 0 &&
         block.version == CRI_BLOCK_VERSION && block.self == address.value;
}

Pid inner(const BuildState& state, Pid saved) {
  const auto id = state.ids_inside.find(saved);
  return id == state.ids_inside.end() ? saved : id->second;
}

void set_engine(const BuildState& state, cri_block& block) {
  const auto own = proc::read_stat(::getpid());
  const bool visible = state.way != IdWay::kNamespaces && own.ok();
  block.engine_pid = visible ? ::getpid() : 0;
  block.engine_start = visible ? own->start_time_ticks : 0;
}

// Whoever restarts has no id inside of namespaces; their init stands there for it.
Pid requester(const BuildState& state) {
  if (state.way == IdWay::kNamespaces) return 1;
  return state.options.requester != 0 ? state.options.requester : ::getpid();
}

void set_source(const BuildState& state, cri_block& block) {
  const std::string& source = state.options.source;
  std::memset(block.source, 0, sizeof block.source);
  std::copy_n(source.begin(), std::min(source.size(), sizeof block.source - 1), block.source);
}

}  // namespace

Result<void> rebuild_control_block(BuildState& state, size_t process) {
  const model::Process& image = state.process(process);
  const RemoteAddr address = image.control_block;
  if (!address) return {};
  Target& target = state.targets[process];
  auto read = target.memory().read_object<cri_block>(address);
  if (!read || !is_block(*read, address)) {
    log::debug("process {}: no control block at {:#x}", image.pid, address.value);
    return {};
  }
  cri_block block = *read;
  block.pid = inner(state, image.pid);
  if (block.callback_tid != 0) block.callback_tid = inner(state, block.callback_tid);
  block.epoch += 1;
  block.restart_requester = requester(state);
  block.failed = 0;
  set_engine(state, block);
  set_source(state, block);
  const bool parked = block.phase != CRI_PHASE_IDLE;
  if (parked) block.verdict = CRI_VERDICT_RESTART;
  // It stops itself, when its callbacks have returned.
  const bool stops = parked && image.stopped && state.options.signal <= 0;
  block.stop = stops ? static_cast<u32>(block.request) | 1 : 0;
  TRY(target.memory()
          .write_object(address, block)
          .context(fmt::format("control block of process {}", image.pid)));
  if (!parked) return {};
  // Opened while we trace it: later Yama might forbid it.
  UniqueFd memory = TRY(sys::open(fmt::format("/proc/{}/mem", target.pid()), O_RDONLY));
  state.blocks.push_back({.process = process,
                          .pid = target.pid(),
                          .address = address,
                          .memory = std::move(memory),
                          .signal = std::max(0, state.options.signal)});
  return {};
}

bool runs_callbacks(const BuildState& state, size_t process) {
  return std::ranges::find(state.blocks, process, &ParkedProcess::process) != state.blocks.end();
}

}  // namespace stasis::restart
