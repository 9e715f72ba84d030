// An exec leaves the process with its program's memory and without stub: it is emptied once more.
// Where the program cannot be executed the process stays the copy of its maker that it is.
#include "restart/become.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "base/sys.h"
#include "resource/restore.h"
#include "restart/empty.h"
#include "restart/layout.h"
#include "restart/passes.h"

namespace stasis::restart {
namespace {

void note_program(BuildState& state, size_t member, std::string_view why) {
  state.context.notes.push_back(fmt::format("/proc/PID/exe of process {} is not its program: {}",
                                            state.family.members[member].id, why));
}

Result<void> execute(BuildState& state, size_t member) {
  const int ours = executable_of(state.context, state.process(member));
  const auto parked = state.inherited.find(ours);
  if (ours < 0 || parked == state.inherited.end()) {
    note_program(state, member, "its file cannot be had");
    return {};
  }
  Target& before = state.born.at(member);
  const Pid pid = before.pid();
  const Scratch scratch = before.scratch();
  const int code = TRY(before.execute(parked->second));
  if (code != 0) {
    note_program(state, member, ::strerror(code));
    return {};
  }
  Target after = TRY(empty_process(pid, scratch));
  before.release();
  state.born.erase(member);
  state.born.emplace(member, std::move(after));
  return {};
}

// Whether a process will be another user than we are, and than who makes it was. (One whose image
// is not trusted is that user already and has one.)
bool needs_session_keyring(const BuildState& state, size_t member) {
  const Member& plan = state.family.members[member];
  if (!state.options.trusted || ::geteuid() != 0 || plan.role != Role::kProcess) return false;
  const std::vector<u32>& uids = state.process(member).credentials.uids;
  if (std::ranges::all_of(uids, [](u32 uid) { return uid == 0; })) return false;
  if (member == 0) return true;
  return state.family.members[plan.maker].role != Role::kProcess ||
         state.process(plan.maker).credentials.uids != uids;
}

}  // namespace

int executable_of(resource::RestoreContext& context, const model::Process& process) {
  if (!process.executable) return -1;
  const auto file = resource::mapping_descriptor(*process.executable, false, context);
  if (!file) return -1;
  const auto status = sys::fstat(*file);
  const bool plain =
      status && S_ISREG(status->st_mode) && (status->st_mode & (S_ISUID | S_ISGID)) == 0;
  return plain ? *file : -1;
}

Result<void> settle_in(BuildState& state, size_t member) {
  const Member& plan = state.family.members[member];
  if (plan.executes) {
    TRY(execute(state, member).context(fmt::format("while making process {}", plan.id)));
  }
  if (plan.keeps_program) {
    note_program(state, member, "it shares memory with processes that run another one");
  }
  if (needs_session_keyring(state, member)) {
    TRY(leave_session_keyring(state.born.at(member)).context(fmt::format("process {}", plan.id)));
  }
  if (!plan.regions.empty()) {
    TRY(create_shared_regions(state.born.at(member), state.context.image, plan.regions));
  }
  return begin_session_when_ready(state, member);
}

Result<void> begin_session_when_ready(BuildState& state, size_t member) {
  const Member& plan = state.family.members[member];
  if (!plan.leads_session || !state.readiness->may_begin_session(member)) return {};
  if (!state.sessions_begun.insert(member).second) return {};
  trace::Script script;
  script.call(fmt::format("begin session {}", plan.id), SYS_setsid, {});
  TRY(state.born.at(member).run(script));
  return {};
}

}  // namespace stasis::restart
