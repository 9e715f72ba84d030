// Programs that get new ids (--no-restore-pid): the C library keeps each thread's id in its thread
// descriptor. Where it does is known for glibc (the tid address) and musl (a field of the
// descriptor that the thread pointer leads to); nothing else that a program may have noted is
// touched.
#pragma once

#include <optional>

#include "base/result.h"
#include "model/process.h"
#include "restart/passes.h"

namespace stasis::restart {

// What lies at the places where a thread's id may be cached.
struct CachedId {
  RemoteAddr tid_address;
  u32 at_tid_address = 0;
  RemoteAddr thread_pointer;
  u64 at_thread_pointer = 0;  // the descriptor's pointer to itself
  u32 at_musl_tid = 0;        // kMuslTidOffset behind it
};
inline constexpr u64 kMuslTidOffset = 48;

// Where the old id has to be replaced (pure); nullopt: nowhere known.
std::optional<RemoteAddr> find_cached_id(const CachedId& found, Pid old_id);

// Replaces the old ids in the memory of a process whose ids are new.
Result<void> patch_cached_ids(BuildState& state, size_t process);

}  // namespace stasis::restart
