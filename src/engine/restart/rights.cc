// When a process that is being built becomes the user it was.
#include <fmt/format.h>
#include <linux/keyctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <cerrno>

#include "base/sys.h"
#include "proc/status.h"
#include "restart/credentials.h"
#include "restart/finish.h"
#include "restart/passes.h"
#include "restart/proc_paths.h"

namespace stasis::restart {
namespace {

// Root needs none even in namespaces.
Result<bool> in_own_user_namespace(const BuildState& state, const Target& target) {
  if (state.way != IdWay::kNamespaces) return false;
  const std::string theirs = TRY(sys::read_link(fmt::format("/proc/{}/ns/user", target.pid())));
  return theirs != state.user_namespace;
}

// All threads of a process that nobody has let run have the same.
Result<model::Credentials> current(const Target& target, bool own_namespace) {
  model::Credentials now = credentials_of(TRY(proc::read_status(target.pid())));
  if (own_namespace) return now;
  now.securebits = static_cast<u32>(
      TRY(sys::check(::prctl(PR_GET_SECUREBITS, 0, 0, 0, 0), "read", "our secure bits")));
  return now;
}

Result<void> run_in_all(BuildState& state, size_t index, const trace::Script& script) {
  if (script.empty()) return {};
  std::vector<ThreadScript> scripts;
  for (const Pid tid : state.targets[index].threads()) scripts.push_back({tid, script});
  (void)TRY(state.targets[index].run_together(scripts).context(
      fmt::format("process {}", state.process(index).pid)));
  return {};
}

}  // namespace

Result<void> take_rights(BuildState& state, size_t index) {
  const model::Credentials& saved = state.process(index).credentials;
  const bool own_namespace = TRY(in_own_user_namespace(state, state.targets[index]));
  const model::Credentials now = TRY(current(state.targets[index], own_namespace));
  if (!state.options.trusted) {
    return run_in_all(state, index, credentials_script(saved, now, own_namespace, false));
  }
  if (own_namespace) return {};
  return run_in_all(state, index, ids_script(saved, now));
}

Result<void> leave_session_keyring(Target& target) {
  const auto ours = sys::raw("look for", "a session keyring", SYS_keyctl, KEYCTL_GET_KEYRING_ID,
                             static_cast<long>(KEY_SPEC_SESSION_KEYRING), 0L);
  // No keyrings; or a filter that forbids them, to the program as well.
  if (!ours && (ours.error().code == ENOSYS || ours.error().code == EPERM)) return {};
  trace::Script script;
  script.call("begin a session keyring", SYS_keyctl, {u64{KEYCTL_JOIN_SESSION_KEYRING}, u64{0}});
  TRY(target.run(script));
  return {};
}

Result<void> finish_rights(BuildState& state, size_t index) {
  const model::Process& process = state.process(index);
  Target& target = state.targets[index];
  const bool own_namespace = TRY(in_own_user_namespace(state, target));
  const model::Credentials now =
      state.options.trusted ? TRY(current(target, own_namespace)) : process.credentials;
  std::vector<ThreadScript> scripts;
  std::optional<Pid> alive;
  for (const model::Thread& thread : process.threads) {
    const Pid tid = state.ids.at(thread.tid);
    scripts.push_back({tid, last_thread_script(process, thread, now, own_namespace)});
    if (!thread.zombie) alive = tid;
  }
  (void)TRY(target.run_together(scripts));
  if (!alive) return fail(EINVAL, "no thread of the process was alive");
  const std::string directory =
      with_new_ids(state.context.relocate(process.working_directory), state.ids_inside);
  trace::Script script;
  script.call("change to the directory " + directory, SYS_chdir, {script.text(directory)});
  const std::vector<ThreadScript> one = {{*alive, std::move(script)}};
  (void)TRY(target.run_together(one));
  return {};
}

}  // namespace stasis::restart
