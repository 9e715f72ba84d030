// What this machine's processor offers to programs: instruction sets by the names of /proc/cpuinfo,
// and the state components of xsave. An image records them; restart compares. Privileged or
// invisible features (virtualisation, errata, ...) are not listed: no program depends on them.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/types.h"

namespace stasis::arch {

// Names of the features that programs may use here, sorted. A feature whose registers the kernel
// does not save (xcr0) is not offered.
std::vector<std::string> cpu_features();
// State components that the kernel has enabled; 0 where there is no xsave.
u64 xcr0();

// What `needed` (sorted) has and `offered` (sorted) lacks.
std::vector<std::string> missing_features(const std::vector<std::string>& needed,
                                          const std::vector<std::string>& offered);
// "avx512 opmask, AMX tile data": the components of a mask, for people.
std::string component_names(u64 components);

// Size of the extended state as ptrace exchanges it here; 0 where there is no xsave.
u64 extended_state_size();
// Components that are not in their initial state in a thread's extended state.
u64 components_in_use(ByteView extended);
// The same state in one spelling: a component that holds its initial values is marked as not in
// use. Whether the processor marks it so is up to it (XINUSE, Intel SDM volume 1, 13.6), and may
// differ from one look to the next.
Bytes canonical_extended_state(ByteView extended);
// Components that a process must ask leave for before it can have them (AMX).
std::vector<int> components_by_permission(u64 components);

// The call by which a process learns for which of these it has leave: its number and first
// argument; the second is where the mask goes. nullopt where no such thing exists.
struct PermissionQuery {
  i64 number = 0;
  u64 option = 0;
};
std::optional<PermissionQuery> permission_query();
// The call that tells a thread (1 or 0) whether it may ask for the processor's features, and the
// one that sets it, with 1 or 0 as its second argument; nullopt where that is never in question.
std::optional<PermissionQuery> cpuid_query();
std::optional<PermissionQuery> cpuid_setting();

// `saved` in the size that this machine uses, on top of `fresh` (the state of a new thread here).
// ENOTSUP, naming the components, where one in use may lie elsewhere than on the saved machine.
Result<Bytes> adapt_extended_state(ByteView saved, ByteView fresh);

}  // namespace stasis::arch
