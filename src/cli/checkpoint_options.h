// cr_checkpoint's options: what the user asked for, and the table that reads it.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "console.h"
#include "engine/engine.h"
#include "options.h"

namespace stasis::cli {

struct CheckpointSettings {
  Console console;
  bool help = false, version = false;
  bool check = false;
  Pid asked = 0;   // the ID that was given
  Pid target = 0;  // the process that it means (find_id.h)
  engine::Scope scope = engine::Scope::kTree;
  std::optional<std::string> file;
  std::optional<std::string> directory;
  std::optional<int> fd;
  bool current_directory = false;
  bool to_output = false;  // -f -
  format::DestinationOptions destination;
  format::WriteOptions write;
  bool save_executable = false, save_private = false, save_shared = false;
  bool carry_small = true;
  int signal = 0;
  i64 time_limit_ms = -1;
  bool require_libcr = false;
  bool check_restart = true;
  engine::PtracePolicy ptraced = engine::PtracePolicy::kError;
  engine::PtracePolicy ptracers = engine::PtracePolicy::kError;
};

// Rows that write into `settings`, which must live as long as they are used.
std::vector<Option> checkpoint_options(CheckpointSettings& settings);

// Reads the command line (without the command's name) into `settings`, and checks that it makes
// sense as a whole. Errors: kUsageError, EINVAL for two destinations.
Result<void> parse_checkpoint(CheckpointSettings& settings, std::span<const char* const> arguments);

// Where the context file goes; not meaningful with a descriptor.
std::string context_file_name(const CheckpointSettings& settings);

}  // namespace stasis::cli
