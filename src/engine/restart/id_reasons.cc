// The sentences about ids that a user meets.
#include "restart/id_reasons.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

#include "restart/id_held.h"

namespace stasis::restart {
namespace {

constexpr std::string_view kNewIds = "--no-restore-pid restarts it with new ids";

std::string behind(const RungReason& reason) {
  switch (reason.rung) {
    case Rung::kSetTid:
      return "the kernel gives no ids on demand: " + reason.why_not;
    case Rung::kNamespaces:
      return "no namespaces: " + reason.why_not;
    case Rung::kShortWalk:
    case Rung::kLongWalk:
    case Rung::kNew:
      return reason.why_not;
  }
  return reason.why_not;
}

const RungReason* find(const IdReasons& reasons, Rung rung) {
  const auto found = std::find_if(reasons.rungs.begin(), reasons.rungs.end(),
                                  [rung](const RungReason& each) { return each.rung == rung; });
  return found == reasons.rungs.end() ? nullptr : &*found;
}

std::string all_of(const IdReasons& reasons) {
  std::string all;
  for (const RungReason& reason : reasons.rungs) {
    // The long walk's reason says all that the short one's did.
    if (reason.rung == Rung::kShortWalk && find(reasons, Rung::kLongWalk) != nullptr) continue;
    all += (all.empty() ? "" : "; ") + behind(reason);
  }
  return all;
}

std::string hint_for(const IdReasons& reasons) {
  std::string hint(kNewIds);
  const RungReason* walk = find(reasons, Rung::kLongWalk);
  if (walk != nullptr && walk->why_not.find("that it may") != std::string::npos) {
    hint = "--pid-walk-time SECONDS lets the walk take longer, " + hint;
  }
  const RungReason* namespaces = find(reasons, Rung::kNamespaces);
  if (namespaces != nullptr && !namespaces->hint.empty()) hint = namespaces->hint + ", " + hint;
  return hint;
}

}  // namespace

std::string in_use(const Family& family, const Birth& held) {
  const bool ghost = held.thread == 0 && family.members[held.member].role == Role::kGhost;
  std::string what = "pid";
  if (ghost) what = family.members[held.member].leads_session ? "session" : "process group";
  const std::string holder = holder_of(held.id);
  return fmt::format("found {} {} in use by {}", what, held.id,
                     holder.empty() ? "a process that has just ended" : holder);
}

void note_namespaces(BuildState& state, const IdReasons& reasons) {
  std::string why = reasons.held;
  const RungReason* walk = find(reasons, Rung::kShortWalk);
  if (why.empty() && walk != nullptr) why = walk->why_not;
  if (why.empty() && state.time) {
    why = "the monotonic clocks here stand behind those of the image (time namespace)";
  }
  if (why.empty()) why = "something else than its ids needs them";
  state.context.notes.push_back("restarted in private user, pid and mount namespaces: " + why);
  const auto& members = state.family.members;
  const auto siblings = std::count_if(members.begin(), members.end(),
                                      [](const Member& member) { return member.sibling; });
  if (siblings == 0) return;
  state.context.notes.push_back(
      fmt::format("{} processes whose parent was not saved see 0 as their parent", siblings + 1));
}

Error no_rung_left(const IdReasons& reasons) {
  const std::string all = all_of(reasons);
  if (reasons.untraceable) {
    return fail(reasons.untraceable->code, all, reasons.untraceable->hint);
  }
  const std::string hint(kNewIds);
  if (!reasons.held.empty() && all.empty()) {
    return fail(EBUSY, reasons.held, "--namespaces restarts it in namespaces of its own, " + hint);
  }
  if (!reasons.held.empty()) {
    return fail(EBUSY, fmt::format("{} (and not elsewhere: {})", reasons.held, all), hint);
  }
  return fail(EBUSY, fmt::format("cannot restore the ids of the image: {}", all),
              hint_for(reasons));
}

}  // namespace stasis::restart
