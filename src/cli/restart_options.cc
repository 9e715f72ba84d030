// The rows, in the order of BLCR's manual, then ours.
#include "restart_options.h"

#include <fmt/format.h>
#include <unistd.h>

#include <csignal>
#include <limits>

#include "relocate.h"

namespace stasis::cli {
namespace {

using Value = std::string_view;

template <class Act>
auto always(Act act) {
  return [act](Value value) -> Result<void> {
    act(value);
    return {};
  };
}

// At most one context file may be named.
Result<void> one_source(const RestartSettings& settings) {
  if (!settings.file && !settings.fd) return {};
  return fail(kUsageError, "more than one context file given");
}

// A file's name; "-" is standard input, as for cr_info.
void set_file(RestartSettings& s, Value name) {
  if (name == "-") {
    s.fd = STDIN_FILENO;
  } else {
    s.file = std::string(name);
  }
}

void add_sources(std::vector<Option>& table, RestartSettings& s) {
  table.push_back({"f", "file", "FILE", "restart from FILE; -: from standard input",
                   [&s](Value value) -> Result<void> {
                     TRY(one_source(s));
                     set_file(s, value);
                     return {};
                   }});
  table.push_back(
      {"F", "fd", "FD", "restart from the open descriptor FD", [&s](Value value) -> Result<void> {
         TRY(one_source(s));
         s.fd = static_cast<int>(
             TRY(parse_number(value, 0, std::numeric_limits<int>::max(), "descriptor")));
         return {};
       }});
  table.push_back({"d", "dir", "DIR", "", [](Value) -> Result<void> {
                     return fail(kUsageError, "restarting from a directory is not implemented",
                                 "name the context file in it");
                   }});
}

void add_signals(std::vector<Option>& table, RestartSettings& s) {
  const auto send = [&s](int number) { return always([&s, number](Value) { s.signal = number; }); };
  table.push_back({"S", "signal", "N", "send signal N to every restarted process",
                   [&s](Value value) -> Result<void> {
                     s.signal = TRY(parse_signal(value, "signal"));
                     return {};
                   }});
  table.push_back(
      {"", "run", "", "leave them as they were saved, running or stopped (default)", send(0)});
  table.push_back({"", "stop|freeze", "", "send SIGSTOP", send(SIGSTOP)});
  table.push_back({"", "term", "", "send SIGTERM", send(SIGTERM)});
  table.push_back({"", "kill", "", "send SIGKILL", send(SIGKILL)});
  table.push_back({"", "abort", "", "send SIGABRT", send(SIGABRT)});
  table.push_back({"", "cont", "", "send SIGCONT", send(SIGCONT)});
  table.push_back({"", "early-stop", "", "", send(-SIGSTOP)});
  table.push_back({"", "early-abrt", "", "", send(-SIGABRT)});
}

void add_ids(std::vector<Option>& table, RestartSettings& s) {
  using engine::PidPolicy;
  const auto pids = [&s](PidPolicy policy) {
    return always([&s, policy](Value) { s.pids = policy; });
  };
  const auto set = [](bool& flag, bool to) { return always([&flag, to](Value) { flag = to; }); };
  table.push_back({"", "restore-pid", "", "give processes and threads their saved ids (default)",
                   pids(PidPolicy::kRestore)});
  table.push_back({"", "no-restore-pid", "", "give them new ids", pids(PidPolicy::kNew)});
  table.push_back(
      {"", "restore-pgid", "", "restore process group ids", set(s.restore_group, true)});
  table.push_back({"", "no-restore-pgid", "", "stay in cr_restart's process group (default)",
                   set(s.restore_group, false)});
  table.push_back({"", "restore-sid", "", "restore session ids", set(s.restore_session, true)});
  table.push_back({"", "no-restore-sid", "", "stay in cr_restart's session (default)",
                   set(s.restore_session, false)});
  const auto namespaces = [&s](bool to) {
    return always([&s, to](Value) { s.allow_namespaces = s.namespaces_if_held = to; });
  };
  table.push_back({"", "namespaces", "",
                   "put the processes into namespaces of their own if their ids are in use",
                   namespaces(true)});
  table.push_back(
      {"", "no-namespaces", "", "... nor if they would take too long to get", namespaces(false)});
  table.push_back({"", "pid-walk-time", "SEC",
                   "walk the kernel's pid counter for SEC seconds at most (0: not at all; default: "
                   "5, and 600 where there are no namespaces)",
                   [&s](Value value) -> Result<void> {
                     s.walk_time_ms = TRY(parse_seconds(value));
                     return {};
                   }});
}

void add_waiting(std::vector<Option>& table, RestartSettings& s) {
  table.push_back({"", "detach", "",
                   "end as soon as the processes run, which leaves them to init (default: wait for "
                   "the first of them and end as it ends)",
                   always([&s](Value) { s.detach = true; })});
}

void add_files(std::vector<Option>& table, RestartSettings& s) {
  table.push_back({"", "relocate", "OLD=NEW", "look for files saved below OLD below NEW",
                   [&s](Value value) -> Result<void> {
                     auto relocation = TRY(parse_relocation(value));
                     if (relocation) s.files.relocations.push_back(std::move(*relocation));
                     return {};
                   }});
  table.push_back(
      {"", "truncate", "",
       "cut writable files back to their saved size even if others write them, too",
       always([&s](Value) { s.files.file_size = resource::FileSizePolicy::kTruncateAll; })});
  table.push_back({"", "keep-file-sizes", "", "do not cut writable files back to their saved size",
                   always([&s](Value) { s.files.file_size = resource::FileSizePolicy::kKeep; })});
  table.push_back({"", "allow-changed-files", "", "go on with mapped files that have changed",
                   always([&s](Value) { s.files.ignore_changed_files = true; })});
  table.push_back({"", "drop-pipe-data", "",
                   "go on without what waited in pipes from programs that were not saved",
                   always([&s](Value) { s.files.drop_pipe_data = true; })});
  table.push_back({"", "ignore-cpu-features", "",
                   "go on although this machine lacks CPU features that the saved one had",
                   always([&s](Value) { s.ignore_cpu_features = true; })});
}

void add_hooks(std::vector<Option>& table, RestartSettings& s) {
  const auto on = [&s](FailureClass kind) {
    return always(
        [&s, kind](Value value) { s.run_on_fail[static_cast<size_t>(kind)] = std::string(value); });
  };
  table.push_back({"", "run-on-success", "CMD", "shell command to run once the processes run",
                   always([&s](Value value) { s.run_on_success = std::string(value); })});
  table.push_back({"", "run-on-fail-temp", "CMD", "... when it fails for want of ids or memory",
                   on(FailureClass::kTemporary)});
  table.push_back({"", "run-on-fail-env", "CMD", "... when it fails for files or permissions",
                   on(FailureClass::kEnvironment)});
  table.push_back({"", "run-on-fail-args", "CMD", "... when the arguments are wrong",
                   on(FailureClass::kArguments)});
  table.push_back({"", "run-on-fail-perm", "CMD", "... when it fails for any other reason",
                   on(FailureClass::kPermanent)});
  table.push_back({"", "run-on-failure", "CMD", "... in all four cases",
                   always([&s](Value value) { s.run_on_fail.fill(std::string(value)); })});
}

void add_rules(std::vector<Option>& table, RestartSettings& s) {
  const auto omit = [&s](cri_omit_rule rule) {
    return always([&s, rule](Value) { s.omit = rule; });
  };
  table.push_back({"", "omit-maybe", "",
                   "leave cr_restart out of checkpoints that ask for it, or if init is its parent "
                   "(default)",
                   omit(CRI_OMIT_MAYBE)});
  table.push_back({"", "omit-always", "", "... out of all checkpoints", omit(CRI_OMIT_ALWAYS)});
  table.push_back({"", "omit-never", "", "... out of none", omit(CRI_OMIT_NEVER)});
}

void add_messages(std::vector<Option>& table, RestartSettings& s) {
  const auto messages = [&s](bool details, bool warnings) {
    return always([&s, details, warnings](Value) {
      s.console.show_details = details;
      s.console.show_warnings = warnings;
    });
  };
  table.push_back(
      {"", "kmsg-none", "", "on failure print the verdict alone", messages(false, false)});
  table.push_back(
      {"", "kmsg-error", "", "on failure print the reasons too (default)", messages(true, false)});
  table.push_back({"", "kmsg-warning", "", "the same, and on success what the user should know",
                   messages(true, true)});
}

void add_general(std::vector<Option>& table, RestartSettings& s) {
  table.push_back({"q", "quiet", "", "print nothing on stderr",
                   always([&s](Value) { s.console.quiet = true; })});
  table.push_back({"v", "verbose", "",
                   "print a summary; twice or more: a log too (-v alone: version)",
                   always([&s](Value) { ++s.console.verbosity; })});
  table.push_back(
      {"h?", "help", "", "print this text", always([&s](Value) { s.help = true; }), true});
  table.push_back(
      {"", "version", "", "print the version", always([&s](Value) { s.version = true; }), true});
}

}  // namespace

std::vector<Option> restart_options(RestartSettings& settings) {
  std::vector<Option> table;
  add_sources(table, settings);
  add_ids(table, settings);
  add_waiting(table, settings);
  add_files(table, settings);
  add_signals(table, settings);
  add_hooks(table, settings);
  add_rules(table, settings);
  add_messages(table, settings);
  add_general(table, settings);
  return table;
}

Result<void> parse_restart(RestartSettings& settings, std::span<const char* const> arguments) {
  const auto table = restart_options(settings);
  const auto operands = TRY(parse_options(table, arguments));
  if (settings.help || settings.version) return {};
  for (const std::string& operand : operands) {
    TRY(one_source(settings));
    set_file(settings, operand);
  }
  if (settings.file || settings.fd) return {};
  if (settings.console.verbosity > 0) {
    settings.version = true;
    return {};
  }
  return fail(kUsageError, "the context file is missing");
}

}  // namespace stasis::cli
