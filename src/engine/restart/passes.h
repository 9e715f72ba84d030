// The passes of build() on processes that exist already: each works on one process of the image, in
// the order in which build.cc lists them. All are given the same BuildState.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <vector>

#include "base/result.h"
#include "proc/status.h"
#include "restart/build.h"
#include "restart/family.h"
#include "restart/target.h"

namespace stasis::restart {

struct BuildState {
  resource::RestoreContext& context;
  const RawAccess& raw;
  const BuildOptions& options;
  std::vector<Target> targets;    // parallel to context.image.processes; from settle_family() on
  std::map<Pid, Pid> ids;         // saved pid or tid -> the one it has now, in OUR pid namespace
  std::map<Pid, Pid> ids_inside;  // saved pid or tid -> the one it sees itself
  // Descriptors of ours that every target holds from its birth until place_descriptors() (which
  // runs after rebuild_memory()): our number -> its number there. All of context.made (mapping
  // descriptors included: build() has asked for every area's), the open files, and raw.fd.
  std::map<int, int> inherited;
  std::vector<int> open_files;  // [i]: our descriptor that is Image::open_files[i]
  IdWay way = IdWay::kSetTid;
  // Of the time namespace that the processes need and only namespaces of their own can give them.
  std::optional<proc::TimeOffsets> time;
  // rseq_cs of threads (by the id they have now) that were in a critical section; registering
  // clears it, so finish_process() writes it back.
  std::map<Pid, u64> rseq_sections;
  u64 bytes_done = 0;  // of data_bytes(), for progress
  std::vector<ParkedProcess> blocks;
  std::set<size_t> stopped;  // processes that are stopped already, and will be once detached
  std::set<size_t> stopped_by_force;  // ... that only SIGSTOP can stop

  // While the family is made; members by their place in it.
  Family family;
  std::map<size_t, Target> born;
  std::optional<Readiness> readiness;
  std::set<size_t> sessions_begun;
  std::map<Pid, Pid> own_ids;  // of members: id in our pid namespace -> the one it sees itself
  std::string user_namespace;  // ours before anybody was made
  std::vector<Pid> ended;      // in our namespace; they may be zombies of processes of the family

  [[nodiscard]] const model::Process& process(size_t index) const {
    return context.image.processes[index];
  }
  [[nodiscard]] const model::Zombie& zombie(size_t member) const {
    return context.image.zombies[member - context.image.processes.size()];
  }
};

// Bytes of page contents that rebuild_memory() copies for all processes of the image (pure).
u64 data_bytes(const model::Image& image);

// Where the build's scratch area may lie: free in all layouts of the image and in ours (pure).
Result<Scratch> choose_scratch(const model::Image& image, u64 length);

// --- birth.cc, ids.cc, descriptors.cc: a process, empty but for scratch and vdso; its threads ---
// Descriptors are placed at their numbers, everything inherited is closed.
Result<void> place_descriptors(BuildState& state, size_t process);

// --- memory.cc and its neighbours ---
// Maps SharedMemory resources of the image, whole, at addresses free in all layouts. Called for an
// empty process before it has children, which inherit the mappings and take their pieces from
// there.
Result<void> create_shared_regions(Target& target, const model::Image& image,
                                   const std::vector<model::ResourceIndex>& regions);
// Shared anonymous regions, areas with their final protection, vdso home, marks, flags, pages.
// Also patches libc's cached tids when ids are new (IdWay::kNew).
Result<void> rebuild_memory(BuildState& state, size_t process);

// --- rights.cc ---
// The user and group ids of the image, for every thread, before anything of the image happens in
// the process: owners of descriptors (F_SETOWN), timers and limits are asked for with the right
// ids. An image that is not root's takes everything at once and keeps nothing of ours.
Result<void> take_rights(BuildState& state, size_t process);
// A session keyring of its own, as ours holds keys of ours. To be called before there are threads:
// each would get another one.
Result<void> leave_session_keyring(Target& target);
// Capabilities and all that is left, and then the working directory, which is looked up with them.
Result<void> finish_rights(BuildState& state, size_t process);

// --- attributes.cc: what belongs to the process as a whole, but for descriptors and memory ---
// umask, personality, limits, actions, timers, pending signals, dumpable, ...
Result<void> rebuild_attributes(BuildState& state, size_t process);

// --- threads.cc: what each thread sets for itself ---
// robust list, alternate stack, name, rseq, scheduling, timer slack, pending signals, ...
Result<void> rebuild_threads(BuildState& state, size_t process);

// --- finish.cc: the last acts, after which the scratch area is gone and only detaching remains ---
// SIGTRAP's action, primed restart blocks, munmap(scratch), xstate, registers, masks.
Result<void> finish_process(BuildState& state, size_t process);

}  // namespace stasis::restart
