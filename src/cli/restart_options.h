// cr_restart's options: what the user asked for, and the table that reads it.
#pragma once

#include <array>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "console.h"
#include "engine/engine.h"
#include "messages.h"
#include "options.h"
#include "stasis/handshake.h"

namespace stasis::cli {

struct RestartSettings {
  Console console;
  bool help = false, version = false;
  std::optional<std::string> file;
  std::optional<int> fd;
  resource::RestoreOptions files;
  engine::PidPolicy pids = engine::PidPolicy::kRestore;
  bool restore_group = false, restore_session = false;
  bool allow_namespaces = true;     // when the ids would take too long to get
  bool namespaces_if_held = false;  // ... or are in use
  std::optional<i64> walk_time_ms;  // of the pid counter; 0: none
  bool ignore_cpu_features = false;
  int signal = 0;
  bool detach = false;  // end once the processes run
  cri_omit_rule omit = CRI_OMIT_MAYBE;
  std::string run_on_success;              // shell commands; empty: none
  std::array<std::string, 4> run_on_fail;  // by FailureClass
};

// Rows that write into `settings`, which must live as long as they are used.
std::vector<Option> restart_options(RestartSettings& settings);

// Reads the command line (without the command's name). -v alone asks for the version, as BLCR's
// does; beside a context file it asks for the summary. Errors: kUsageError.
Result<void> parse_restart(RestartSettings& settings, std::span<const char* const> arguments);

}  // namespace stasis::cli
