// The option tables of the commands: what they ask of the engine, what they refuse, and that their
// rows are sound.
#include <doctest/doctest.h>

#include <cerrno>
#include <csignal>
#include <set>

#include "checkpoint_options.h"
#include "info_options.h"
#include "restart_options.h"
#include "run_options.h"

using namespace stasis;
using namespace stasis::cli;

namespace {

Result<void> read_checkpoint(CheckpointSettings& settings, std::vector<const char*> words) {
  return parse_checkpoint(settings, words);
}

Result<void> read_restart(RestartSettings& settings, std::vector<const char*> words) {
  return parse_restart(settings, words);
}

int checkpoint_code(std::vector<const char*> words) {
  CheckpointSettings settings;
  const auto parsed = read_checkpoint(settings, std::move(words));
  return parsed.ok() ? 0 : parsed.error().code;
}

int restart_code(std::vector<const char*> words) {
  RestartSettings settings;
  const auto parsed = read_restart(settings, std::move(words));
  return parsed.ok() ? 0 : parsed.error().code;
}

void check_rows(const std::vector<Option>& table) {
  std::set<std::string> names;
  for (const Option& option : table) {
    CHECK(!spellings(option).empty());
    for (const std::string& name : spellings(option)) {
      CAPTURE(name);
      CHECK(names.insert(name).second);
    }
  }
  CHECK(names.contains("--help"));
  CHECK(names.contains("--version"));
}

}  // namespace

TEST_CASE("no name stands in two rows of a table, and all have --help and --version") {
  CheckpointSettings checkpoint;
  RestartSettings restart;
  RunSettings run;
  InfoSettings info;
  check_rows(checkpoint_options(checkpoint));
  check_rows(restart_options(restart));
  check_rows(run_options(run));
  check_rows(info_options(info));
}

TEST_CASE("cr_checkpoint: by default a tree, into context.ID, atomically, compressed, synced") {
  CheckpointSettings settings;
  REQUIRE(read_checkpoint(settings, {"4711"}).ok());
  CHECK(settings.target == 4711);
  CHECK(settings.scope == engine::Scope::kTree);
  CHECK(context_file_name(settings) == "context.4711");
  CHECK(settings.destination.policy == format::CreationPolicy::kAtomic);
  CHECK(settings.destination.sync);
  CHECK(settings.write.compression == format::Compression::kZstd);
  CHECK(settings.signal == 0);
  CHECK(settings.time_limit_ms == -1);
}

TEST_CASE("cr_checkpoint: what options ask for") {
  CheckpointSettings settings;
  REQUIRE(read_checkpoint(settings, {"--process", "-d", "/tmp", "--backup=old", "--nosync",
                                     "--kill", "--save-exe", "--compress=none", "--level", "9",
                                     "-t", "1.5", "-qvv", "--kmsg-none", "7"})
              .ok());
  CHECK(settings.scope == engine::Scope::kProcess);
  CHECK(context_file_name(settings) == "/tmp/context.7");
  CHECK(settings.destination.policy == format::CreationPolicy::kBackup);
  CHECK(settings.destination.backup_name == "old");
  CHECK(!settings.destination.sync);
  CHECK(settings.signal == SIGKILL);
  CHECK(settings.save_executable);
  CHECK(!settings.save_shared);
  CHECK(settings.write.compression == format::Compression::kNone);
  CHECK(settings.write.level == 9);
  CHECK(settings.time_limit_ms == 1500);
  CHECK(settings.console.quiet);
  CHECK(settings.console.verbosity == 2);
  CHECK(!settings.console.show_details);
}

TEST_CASE("cr_checkpoint: scopes, rules for tracers, and libcr") {
  CheckpointSettings settings;
  REQUIRE(read_checkpoint(settings, {"--pgid", "--ptraced-allow", "--ptracer-skip",
                                     "--require-libcr", "-F", "9", "8"})
              .ok());
  CHECK(settings.scope == engine::Scope::kGroup);
  CHECK(settings.ptraced == engine::PtracePolicy::kAllow);
  CHECK(settings.ptracers == engine::PtracePolicy::kSkip);
  CHECK(settings.require_libcr);
  REQUIRE(read_checkpoint(settings, {"-s", "--ptraced-skip", "--ptracer-error", "8"}).ok());
  CHECK(settings.scope == engine::Scope::kSession);
  CHECK(settings.ptraced == engine::PtracePolicy::kSkip);
  CHECK(settings.ptracers == engine::PtracePolicy::kError);
}

TEST_CASE("cr_checkpoint: the last of opposite options counts") {
  CheckpointSettings settings;
  REQUIRE(read_checkpoint(settings, {"--save-all", "--save-none", "--save-private", "--stop",
                                     "--run", "-S", "USR1", "9"})
              .ok());
  CHECK(settings.save_private);
  CHECK(!settings.save_executable);
  CHECK(settings.signal == SIGUSR1);
}

TEST_CASE("cr_checkpoint: misuse is 255, two destinations EINVAL") {
  CHECK(checkpoint_code({}) == kUsageError);
  CHECK(checkpoint_code({"1", "2"}) == kUsageError);
  CHECK(checkpoint_code({"x"}) == kUsageError);
  CHECK(checkpoint_code({"0"}) == kUsageError);
  CHECK(checkpoint_code({"-S", "65", "1"}) == kUsageError);
  CHECK(checkpoint_code({"-t", "soon", "1"}) == kUsageError);
  CHECK(checkpoint_code({"--compress=gzip", "1"}) == kUsageError);
  CHECK(checkpoint_code({"--level=20", "1"}) == kUsageError);
  CHECK(checkpoint_code({"-f", "a", "-F", "3", "1"}) == EINVAL);
  CHECK(checkpoint_code({"--cwd", "-d", "/tmp", "1"}) == EINVAL);
}

TEST_CASE("cr_restart: by default the saved ids, and files cut to their saved size") {
  RestartSettings settings;
  REQUIRE(read_restart(settings, {"context.7"}).ok());
  CHECK(settings.file == "context.7");
  CHECK(settings.pids == engine::PidPolicy::kRestore);
  CHECK(settings.allow_namespaces);
  CHECK(!settings.restore_group);
  CHECK(settings.files.file_size == resource::FileSizePolicy::kTruncate);
  CHECK(!settings.version);
}

TEST_CASE("cr_restart: what options ask for") {
  RestartSettings settings;
  REQUIRE(read_restart(settings,
                       {"--no-restore-pid", "--restore-pgid", "--restore-sid", "--relocate",
                        "/a=/b", "--relocate=/c=/c", "--keep-file-sizes", "--allow-changed-files",
                        "--ignore-cpu-features", "--no-namespaces", "--freeze", "--run-on-failure",
                        "x", "--run-on-fail-temp", "y", "--run-on-success=z", "-v", "-f", "ctx"})
              .ok());
  CHECK(settings.pids == engine::PidPolicy::kNew);
  CHECK(settings.restore_group);
  CHECK(settings.restore_session);
  REQUIRE(settings.files.relocations.size() == 1);
  CHECK(settings.files.relocations[0].to == "/b");
  CHECK(settings.files.file_size == resource::FileSizePolicy::kKeep);
  CHECK(settings.files.ignore_changed_files);
  CHECK(settings.ignore_cpu_features);
  CHECK(!settings.allow_namespaces);
  CHECK(settings.signal == SIGSTOP);
  CHECK(settings.run_on_fail == std::array<std::string, 4>{"y", "x", "x", "x"});
  CHECK(settings.run_on_success == "z");
  CHECK(settings.console.verbosity == 1);
  CHECK(!settings.version);
}

TEST_CASE("cr_restart: -v alone is the version, as BLCR's; sources are exactly one") {
  RestartSettings settings;
  REQUIRE(read_restart(settings, {"-v"}).ok());
  CHECK(settings.version);
  CHECK(restart_code({}) == kUsageError);
  CHECK(restart_code({"a", "b"}) == kUsageError);
  CHECK(restart_code({"-f", "a", "-F", "3"}) == kUsageError);
  CHECK(restart_code({"-F", "x"}) == kUsageError);
  CHECK(restart_code({"-d", "dir"}) == kUsageError);
  CHECK(restart_code({"--relocate", "a=b", "ctx"}) == kUsageError);
}

TEST_CASE("cr_info: one file, the last view counts") {
  InfoSettings settings;
  REQUIRE(parse_info(settings, std::vector<const char*>{"--json", "--backtrace", "--verify", "ctx"})
              .ok());
  CHECK(settings.view == InfoView::kBacktrace);
  CHECK(settings.verify);
  CHECK(settings.file == "ctx");
  InfoSettings none;
  CHECK(!parse_info(none, std::vector<const char*>{}).ok());
}
