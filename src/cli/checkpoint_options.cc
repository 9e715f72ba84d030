// The rows, in the order of BLCR's manual, then ours.
#include "checkpoint_options.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <limits>

namespace stasis::cli {
namespace {

using Value = std::string_view;
using engine::Scope;
using format::CreationPolicy;

// Actions that cannot fail, made from assignments.
template <class Act>
auto always(Act act) {
  return [act](Value value) -> Result<void> {
    act(value);
    return {};
  };
}

void add_scopes(std::vector<Option>& table, CheckpointSettings& s) {
  const auto scope = [&s](Scope wanted) {
    return always([&s, wanted](Value) { s.scope = wanted; });
  };
  table.push_back(
      {"T", "tree", "", "save the process ID and its descendants (default)", scope(Scope::kTree)});
  table.push_back({"p", "pid|process", "", "save the single process ID", scope(Scope::kProcess)});
  table.push_back(
      {"g", "pgid|group", "", "save the members of the process group ID", scope(Scope::kGroup)});
  table.push_back(
      {"s", "sid|session", "", "save the members of the session ID", scope(Scope::kSession)});
}

void add_destinations(std::vector<Option>& table, CheckpointSettings& s) {
  table.push_back({"c", "cwd", "", "save to context.ID in the current directory (default)",
                   always([&s](Value) { s.current_directory = true; })});
  table.push_back(
      {"f", "file", "FILE", "save to FILE; -: write to standard output", always([&s](Value value) {
         s.to_output = value == "-";
         s.file = std::string(value);
       })});
  table.push_back({"d", "dir", "DIR", "save to context.ID in the directory DIR",
                   always([&s](Value value) { s.directory = std::string(value); })});
  table.push_back(
      {"F", "fd", "FD", "write to the open descriptor FD", [&s](Value value) -> Result<void> {
         s.fd = static_cast<int>(
             TRY(parse_number(value, 0, std::numeric_limits<int>::max(), "descriptor")));
         return {};
       }});
}

void add_policies(std::vector<Option>& table, CheckpointSettings& s) {
  const auto policy = [&s](CreationPolicy wanted) {
    return always([&s, wanted](Value) { s.destination.policy = wanted; });
  };
  table.push_back({"", "atomic", "", "replace an existing file only when complete (default)",
                   policy(CreationPolicy::kAtomic)});
  table.push_back({"", "backup", "[NAME]", "keep an existing file as NAME (default FILE.~1~, ...)",
                   always([&s](Value value) {
                     s.destination.policy = CreationPolicy::kBackup;
                     s.destination.backup_name = std::string(value);
                   })});
  table.push_back(
      {"", "clobber", "", "overwrite an existing file at once", policy(CreationPolicy::kClobber)});
  table.push_back(
      {"", "noclobber", "", "fail when the file exists", policy(CreationPolicy::kNoClobber)});
  table.push_back({"", "sync", "", "have the file on disk before reporting success (default)",
                   always([&s](Value) { s.destination.sync = true; })});
  table.push_back({"", "nosync", "", "leave writing to disk to the kernel",
                   always([&s](Value) { s.destination.sync = false; })});
}

void add_signals(std::vector<Option>& table, CheckpointSettings& s) {
  const auto send = [&s](int number) { return always([&s, number](Value) { s.signal = number; }); };
  table.push_back({"S", "signal", "N", "send signal N to every saved process afterwards",
                   [&s](Value value) -> Result<void> {
                     s.signal = TRY(parse_signal(value, "signal"));
                     return {};
                   }});
  table.push_back({"", "run", "", "let the processes go on as they were (default)", send(0)});
  table.push_back({"", "stop", "", "send SIGSTOP afterwards", send(SIGSTOP)});
  table.push_back({"", "term", "", "send SIGTERM afterwards", send(SIGTERM)});
  table.push_back({"", "kill", "", "send SIGKILL afterwards", send(SIGKILL)});
  table.push_back({"", "abort", "", "send SIGABRT afterwards", send(SIGABRT)});
  table.push_back({"", "cont", "", "send SIGCONT afterwards", send(SIGCONT)});
  table.push_back({"", "early-stop", "", "", send(-SIGSTOP)});
  table.push_back({"", "early-abrt", "", "", send(-SIGABRT)});
}

void add_contents(std::vector<Option>& table, CheckpointSettings& s) {
  const auto save = [&s](bool executable, bool priv, bool shared) {
    return always([&s, executable, priv, shared](Value) {
      s.save_executable |= executable;
      s.save_private |= priv;
      s.save_shared |= shared;
    });
  };
  table.push_back(
      {"", "save-exe", "", "carry the executable in the context file", save(true, false, false)});
  table.push_back({"", "save-private", "", "carry privately mapped files (libraries)",
                   save(false, true, false)});
  table.push_back(
      {"", "save-shared", "", "carry files that are mapped shared", save(false, false, true)});
  table.push_back({"", "save-all", "", "all three of these", save(true, true, true)});
  table.push_back(
      {"", "save-none", "", "none of these: by name only (default)",
       always([&s](Value) { s.save_executable = s.save_private = s.save_shared = false; })});
  table.push_back({"", "no-carry", "",
                   "nor small files below /tmp, /dev/shm and /run, which else are carried",
                   always([&s](Value) { s.carry_small = false; })});
}

void add_ptrace_rules(std::vector<Option>& table, CheckpointSettings& s) {
  using engine::PtracePolicy;
  const auto rule = [](PtracePolicy& which, PtracePolicy wanted) {
    return always([&which, wanted](Value) { which = wanted; });
  };
  table.push_back({"", "ptraced-error", "", "fail when a process is being traced (default)",
                   rule(s.ptraced, PtracePolicy::kError)});
  table.push_back({"", "ptraced-allow", "",
                   "save it once its tracer lets go of it; fail when the time is up",
                   rule(s.ptraced, PtracePolicy::kAllow)});
  table.push_back({"", "ptraced-skip", "", "leave it out", rule(s.ptraced, PtracePolicy::kSkip)});
  table.push_back({"", "ptracer-error", "", "fail when a process traces another (default)",
                   rule(s.ptracers, PtracePolicy::kError)});
  table.push_back({"", "ptracer-skip", "", "leave it out", rule(s.ptracers, PtracePolicy::kSkip)});
}

void add_messages(std::vector<Option>& table, CheckpointSettings& s) {
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

Result<format::Compression> parse_compression(Value text) {
  if (text == "zstd") return format::Compression::kZstd;
  if (text == "none") return format::Compression::kNone;
  return fail(kUsageError, fmt::format("invalid compression '{}': expected zstd or none", text));
}

void add_ours(std::vector<Option>& table, CheckpointSettings& s) {
  table.push_back({"", "check", "", "only list what stands in the way; touch nothing",
                   always([&s](Value) { s.check = true; })});
  table.push_back({"", "no-check-restart", "", "save also what could not be restarted here and now",
                   always([&s](Value) { s.check_restart = false; })});
  table.push_back({"", "require-libcr", "", "fail when a process has neither libcr nor libcr_run",
                   always([&s](Value) { s.require_libcr = true; })});
  table.push_back({"", "compress", "HOW", "zstd (default), or none: raw, restarts fastest",
                   [&s](Value value) -> Result<void> {
                     s.write.compression = TRY(parse_compression(value));
                     return {};
                   }});
  table.push_back({"", "level", "N", "zstd level, 1 (default, fast) to 19 (small)",
                   [&s](Value value) -> Result<void> {
                     s.write.level = static_cast<int>(TRY(parse_number(value, 1, 19, "level")));
                     return {};
                   }});
}

void add_general(std::vector<Option>& table, CheckpointSettings& s) {
  table.push_back({"t", "time", "SEC", "give up after SEC seconds (0: never); the processes go on",
                   [&s](Value value) -> Result<void> {
                     const i64 limit_ms = TRY(parse_seconds(value));
                     s.time_limit_ms = limit_ms == 0 ? -1 : limit_ms;
                     return {};
                   }});
  table.push_back({"q", "quiet", "", "print nothing on stderr",
                   always([&s](Value) { s.console.quiet = true; })});
  table.push_back({"v", "verbose", "", "print a summary; twice or more: a log too",
                   always([&s](Value) { ++s.console.verbosity; })});
  table.push_back(
      {"h?", "help", "", "print this text", always([&s](Value) { s.help = true; }), true});
  table.push_back(
      {"", "version", "", "print the version", always([&s](Value) { s.version = true; }), true});
}

// What the options mean together.
Result<void> check_together(CheckpointSettings& settings) {
  const int destinations = static_cast<int>(settings.file.has_value()) +
                           static_cast<int>(settings.directory.has_value()) +
                           static_cast<int>(settings.fd.has_value()) +
                           static_cast<int>(settings.current_directory);
  if (destinations > 1) {
    return fail(EINVAL, "only one of --file, --dir, --fd and --cwd can be given");
  }
  if (settings.to_output) {
    settings.file.reset();
    settings.fd = STDOUT_FILENO;
  }
  const int fd = settings.fd.value_or(-1);
  if (fd >= 0 && !settings.check && ::isatty(fd) == 1) {
    return fail(EINVAL, fmt::format("the context file would go to a terminal (descriptor {})", fd),
                "write it to a file (-f FILE), or redirect it: cr_checkpoint -f - ID > FILE");
  }
  return {};
}

}  // namespace

std::vector<Option> checkpoint_options(CheckpointSettings& settings) {
  std::vector<Option> table;
  add_scopes(table, settings);
  add_destinations(table, settings);
  add_policies(table, settings);
  add_signals(table, settings);
  add_contents(table, settings);
  add_ptrace_rules(table, settings);
  add_messages(table, settings);
  add_ours(table, settings);
  add_general(table, settings);
  return table;
}

Result<void> parse_checkpoint(CheckpointSettings& settings,
                              std::span<const char* const> arguments) {
  const auto table = checkpoint_options(settings);
  const auto operands = TRY(parse_options(table, arguments));
  if (settings.help || settings.version) return {};
  if (operands.empty()) return fail(kUsageError, "the ID of a process is missing");
  if (operands.size() > 1) {
    return fail(kUsageError,
                fmt::format("more than one ID: '{}' and '{}'", operands[0], operands[1]));
  }
  settings.target = settings.asked =
      static_cast<Pid>(TRY(parse_number(operands[0], 1, std::numeric_limits<Pid>::max(), "ID")));
  return check_together(settings);
}

std::string context_file_name(const CheckpointSettings& settings) {
  if (settings.file) return *settings.file;
  const std::string name = fmt::format("context.{}", settings.asked);
  return settings.directory ? fmt::format("{}/{}", *settings.directory, name) : name;
}

}  // namespace stasis::cli
