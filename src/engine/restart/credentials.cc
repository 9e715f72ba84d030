// setres[ug]id, setgroups, capset and prctl, in the order that capabilities(7) asks for: the
// bounding set and groups while the capabilities for that are there, then ids, then capabilities.
#include "restart/credentials.h"

#include <fmt/format.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <iterator>

namespace stasis::restart {
namespace {

constexpr int kCapabilities = 64;

constexpr u64 bit(int capability) {
  return u64{1} << capability;
}
bool has(const model::Credentials& who, int capability) {
  return (who.effective & bit(capability)) != 0;
}

bool all_among(const std::vector<u32>& wanted, const std::vector<u32>& ours) {
  return std::all_of(wanted.begin(), wanted.end(),
                     [&](u32 id) { return std::find(ours.begin(), ours.end(), id) != ours.end(); });
}

std::vector<u32> sorted(std::vector<u32> ids) {
  std::ranges::sort(ids);
  return ids;
}

// Groups that a user namespace does not know look alike from inside of it: like this one, unless
// somebody has changed kernel.overflowgid.
constexpr u32 kUnknownGroup = 65534;

bool all_unknown(const std::vector<u32>& groups) {
  return std::ranges::all_of(groups, [](u32 group) { return group == kUnknownGroup; });
}

// What `these` has and `those` lacks; both sorted.
std::vector<u32> without(const std::vector<u32>& these, const std::vector<u32>& those) {
  std::vector<u32> rest;
  std::ranges::set_difference(these, those, std::back_inserter(rest));
  return rest;
}

// The same groups, as far as can be seen: a process that was restored in namespaces of its own may
// be saved from inside of them, and what it had is not to be had again from there.
bool same_groups(const std::vector<u32>& one, const std::vector<u32>& other) {
  const std::vector<u32> only_one = without(sorted(one), sorted(other));
  const std::vector<u32> only_other = without(sorted(other), sorted(one));
  return only_one.size() == only_other.size() && (all_unknown(only_one) || all_unknown(only_other));
}

// Keeping capabilities is chosen by whoever likes, without a right to the other secure bits.
u32 lasting(u32 securebits) {
  return securebits & ~u32{SECBIT_KEEP_CAPS};
}

// Whom neither an exec nor a change of ids gives capabilities that he does not have anyway (as
// anybody may get them who runs a set-user-id program): bounds and secure bits do not matter.
bool has_no_rights(const model::Credentials& who) {
  return who.permitted == 0 && std::ranges::find(who.uids, 0U) == who.uids.end();
}

// What capset(2) will accept.
u64 inheritable_for(const model::Credentials& saved, const model::Credentials& now) {
  u64 possible = now.inheritable | now.permitted;
  if (has(now, CAP_SETPCAP)) possible |= now.bounding;
  return saved.inheritable & possible;
}

std::string listed(const std::vector<u32>& ids) {
  return ids.empty() ? "none" : fmt::format("{}", fmt::join(ids, " "));
}

void add_ids(const model::Credentials& saved, const model::Credentials& now,
             trace::Script& script) {
  const auto three = [](const std::vector<u32>& ids) {
    return std::vector<trace::Argument>{u64{ids[0]}, u64{ids[1]}, u64{ids[2]}};
  };
  // Who may set them is not to keep one of his own in place of an unknown one.
  const bool exactly = has(now, CAP_SETGID);
  if (exactly ? sorted(saved.groups) != sorted(now.groups)
              : !same_groups(saved.groups, now.groups)) {
    const trace::DataRef list = script.data(std::as_bytes(std::span(saved.groups)));
    script.call("set the groups", SYS_setgroups, {u64{saved.groups.size()}, list});
  }
  if (saved.gids != now.gids && saved.gids.size() == 4) {
    script.call("set the group ids", SYS_setresgid, three(saved.gids));
    script.attempt("set the group id for files", SYS_setfsgid, {u64{saved.gids[3]}});
  }
  if (saved.uids != now.uids && saved.uids.size() == 4) {
    script.call("keep capabilities", SYS_prctl, {u64{PR_SET_KEEPCAPS}, u64{1}});
    script.call("set the user ids", SYS_setresuid, three(saved.uids));
    script.attempt("set the user id for files", SYS_setfsuid, {u64{saved.uids[3]}});
  }
}

void add_capabilities(const model::Credentials& saved, const model::Credentials& now,
                      trace::Script& script) {
  const __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  const u64 permitted = saved.permitted & now.permitted;
  const u64 effective = saved.effective & permitted;
  const u64 inheritable = inheritable_for(saved, now);
  std::array<__user_cap_data_struct, 2> data = {};
  for (unsigned half = 0; half < 2; ++half) {
    const unsigned shift = half * 32;
    data[half] = {static_cast<u32>(effective >> shift), static_cast<u32>(permitted >> shift),
                  static_cast<u32>(inheritable >> shift)};
  }
  script.call("set the capabilities", SYS_capset, {script.object(header), script.object(data)});
}

void add_ambient(const model::Credentials& saved, const model::Credentials& now,
                 trace::Script& script) {
  if (saved.ambient == now.ambient) return;
  script.call("clear the ambient capabilities", SYS_prctl,
              {u64{PR_CAP_AMBIENT}, u64{PR_CAP_AMBIENT_CLEAR_ALL}, u64{0}, u64{0}, u64{0}});
  for (int capability = 0; capability < kCapabilities; ++capability) {
    if ((saved.ambient & bit(capability)) == 0) continue;
    script.call(fmt::format("raise the ambient capability {}", capability), SYS_prctl,
                {u64{PR_CAP_AMBIENT}, u64{PR_CAP_AMBIENT_RAISE}, static_cast<u64>(capability),
                 u64{0}, u64{0}});
  }
}

}  // namespace

model::Credentials credentials_of(const proc::Status& status) {
  return {.uids = status.uids,
          .gids = status.gids,
          .groups = status.groups,
          .effective = status.cap_effective,
          .permitted = status.cap_permitted,
          .inheritable = status.cap_inheritable,
          .bounding = status.cap_bounding,
          .ambient = status.cap_ambient,
          .securebits = 0};
}

std::vector<Refusal> credential_obstacles(const model::Credentials& saved,
                                          const model::Credentials& ours,
                                          const std::string& subject) {
  std::vector<Refusal> refusals;
  const auto refuse = [&](std::string reason, std::string advice) {
    refusals.push_back({subject, std::move(reason), std::move(advice)});
  };
  if (!has(ours, CAP_SETUID) && !all_among(saved.uids, ours.uids)) {
    refuse(fmt::format("it ran with the user ids {}, which user {} may not take",
                       listed(saved.uids), listed(ours.uids)),
           "restart it as that user");
  }
  const bool groups = has(ours, CAP_SETGID);
  if (!groups && !all_among(saved.gids, ours.gids)) {
    refuse(fmt::format("it ran with the group ids {}; ours are {}", listed(saved.gids),
                       listed(ours.gids)),
           "restart it with that group (newgrp)");
  }
  if (!groups && !same_groups(saved.groups, ours.groups)) {
    refuse(fmt::format("it belonged to the groups {}; ours are {}", listed(saved.groups),
                       listed(ours.groups)),
           "restart it as a member of these groups");
  }
  if ((saved.permitted & ~ours.permitted) != 0) {
    refuse(fmt::format("it had the capabilities {:#x}, of which we lack {:#x}", saved.permitted,
                       saved.permitted & ~ours.permitted),
           "restart it with these capabilities");
  }
  if (has(ours, CAP_SETPCAP) || has_no_rights(saved)) return refusals;  // credential_notes()
  if (lasting(saved.securebits) != lasting(ours.securebits)) {
    refuse(fmt::format("it had the secure bits {:#x}; ours are {:#x}", saved.securebits,
                       ours.securebits),
           "restart it with these secure bits (setpriv --securebits)");
  }
  if ((ours.bounding & ~saved.bounding) != 0) {
    refuse(fmt::format("its capabilities were bounded to {:#x} and would be to {:#x}",
                       saved.bounding, ours.bounding),
           "restart it with the smaller bounding set (setpriv --bounding-set)");
  }
  return refusals;
}

std::vector<std::string> credential_notes(const model::Credentials& saved,
                                          const model::Credentials& ours,
                                          const std::string& subject) {
  std::vector<std::string> notes;
  const bool may_choose = has(ours, CAP_SETPCAP);
  const u64 bounding = may_choose ? saved.bounding & ours.bounding : ours.bounding;
  if (bounding != saved.bounding) {
    notes.push_back(fmt::format("{}: its capabilities were bounded to {:#x} and now are to {:#x}",
                                subject, saved.bounding, bounding));
  }
  if (!may_choose && lasting(saved.securebits) != lasting(ours.securebits)) {
    notes.push_back(fmt::format("{}: it had the secure bits {:#x} and now has {:#x}", subject,
                                lasting(saved.securebits), lasting(ours.securebits)));
  }
  if (inheritable_for(saved, ours) != saved.inheritable) {
    notes.push_back(fmt::format("{}: it had the inheritable capabilities {:#x} and now has {:#x}",
                                subject, saved.inheritable, inheritable_for(saved, ours)));
  }
  return notes;
}

trace::Script credentials_script(const model::Credentials& saved, const model::Credentials& now,
                                 bool own_namespace, bool keep_capabilities) {
  trace::Script script;
  const bool may_choose = has(now, CAP_SETPCAP);
  for (int capability = 0; may_choose && capability < kCapabilities; ++capability) {
    if ((now.bounding & ~saved.bounding & bit(capability)) == 0) continue;
    script.call(fmt::format("drop capability {} from the bounding set", capability), SYS_prctl,
                {u64{PR_CAPBSET_DROP}, static_cast<u64>(capability), u64{0}, u64{0}, u64{0}});
  }
  if (may_choose && lasting(saved.securebits) != lasting(now.securebits)) {
    script.call("set the secure bits", SYS_prctl,
                {u64{PR_SET_SECUREBITS}, u64{lasting(saved.securebits)}});
  }
  if (!own_namespace) add_ids(saved, now, script);
  const bool same = saved.permitted == now.permitted && saved.effective == now.effective &&
                    inheritable_for(saved, now) == now.inheritable;
  if (!same || !script.empty()) add_capabilities(saved, now, script);
  add_ambient(saved, now, script);
  const bool keeps = keep_capabilities || (saved.securebits & SECBIT_KEEP_CAPS) != 0;
  const bool keeps_now =
      (now.securebits & SECBIT_KEEP_CAPS) != 0 || (saved.uids != now.uids && !own_namespace);
  if (keeps != keeps_now) {  // EPERM where SECBIT_KEEP_CAPS_LOCKED is inherited from us
    script.attempt("keep capabilities, or no more", SYS_prctl,
                   {u64{PR_SET_KEEPCAPS}, u64{keeps ? 1U : 0U}});
  }
  return script;
}

trace::Script ids_script(const model::Credentials& saved, const model::Credentials& now) {
  trace::Script script;
  add_ids(saved, now, script);
  // A change of the user empties the effective set. What was permitted stays (PR_SET_KEEPCAPS).
  model::Credentials kept = now;
  kept.effective = now.permitted;
  if (script.empty()) return script;
  add_capabilities(kept, now, script);
  script.call("keep capabilities no more", SYS_prctl, {u64{PR_SET_KEEPCAPS}, u64{0}});
  return script;
}

}  // namespace stasis::restart
