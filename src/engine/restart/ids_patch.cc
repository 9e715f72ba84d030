// Looking at two places per thread, and writing at most one of them.
#include "restart/ids_patch.h"

#include <fmt/format.h>

#include "arch/registers.h"
#include "base/log.h"

namespace stasis::restart {
namespace {

// Zeros where nothing can be read: then nothing matches.
template <class T>
T peek(const trace::RemoteMemory& memory, RemoteAddr at) {
  auto value = memory.read_object<T>(at);
  return value ? *value : T{};
}

Result<void> patch_thread(Target& target, const model::Thread& thread, Pid id) {
  const arch::Registers registers = TRY(arch::from_bytes(thread.registers.general));
  trace::RemoteMemory& memory = target.memory();
  CachedId found;
  found.tid_address = thread.tid_address;
  found.at_tid_address = peek<u32>(memory, found.tid_address);
  found.thread_pointer = arch::thread_pointer(registers);
  found.at_thread_pointer = peek<u64>(memory, found.thread_pointer);
  found.at_musl_tid = peek<u32>(memory, found.thread_pointer + kMuslTidOffset);
  const auto place = find_cached_id(found, thread.tid);
  if (!place) {
    log::debug("thread {}: no cached id found", thread.tid);
    return {};
  }
  return memory.write_object(*place, static_cast<u32>(id))
      .context(fmt::format("new id of thread {}", thread.tid));
}

}  // namespace

std::optional<RemoteAddr> find_cached_id(const CachedId& found, Pid old_id) {
  const auto id = static_cast<u32>(old_id);
  if (found.tid_address && found.at_tid_address == id) return found.tid_address;
  const bool descriptor =
      found.thread_pointer && found.at_thread_pointer == found.thread_pointer.value;
  if (descriptor && found.at_musl_tid == id) return found.thread_pointer + kMuslTidOffset;
  return std::nullopt;
}

Result<void> patch_cached_ids(BuildState& state, size_t process) {
  for (const model::Thread& thread : state.process(process).threads) {
    const auto id = state.ids_inside.find(thread.tid);
    if (thread.zombie || id == state.ids_inside.end() || id->second == thread.tid) continue;
    TRY(patch_thread(state.targets[process], thread, id->second));
  }
  return {};
}

}  // namespace stasis::restart
