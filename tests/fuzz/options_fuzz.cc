// The options of every command. An input is a command line whose words end in zero bytes: the name
// of the command, then what is behind it. Two parsers of libcr's words (LD_PRELOAD) come along.
#include <string>
#include <vector>

#include "checkpoint_options.h"
#include "info_options.h"
#include "preload.h"
#include "restart_options.h"
#include "run_options.h"
#include "target.h"

namespace stasis::fuzz {
namespace {

using Words = std::span<const char* const>;

void check_error(const Error& error) {
  require(error.code == cli::kUsageError || error.code == EINVAL, "a misuse has one of two codes");
  require(!error.what.empty(), "a misuse is told");
}

bool is_signal(int signal) {
  return signal > -65 && signal < 65;
}

void checkpoint(Words words) {
  cli::CheckpointSettings settings;
  const auto parsed = cli::parse_checkpoint(settings, words);
  if (!parsed) return check_error(parsed.error());
  require(is_signal(settings.signal), "a signal's number");
  require(settings.time_limit_ms == -1 || settings.time_limit_ms > 0, "a time limit");
  require(settings.write.level >= 1 && settings.write.level <= 19, "a level");
  require(settings.fd.value_or(0) >= 0, "a descriptor");
  if (settings.help || settings.version) return;
  require(settings.target > 0 && settings.target == settings.asked, "an ID");
  require(!settings.to_output || (settings.fd == 1 && !settings.file), "-f - is a descriptor");
  (void)cli::context_file_name(settings);
}

void restart(Words words) {
  cli::RestartSettings settings;
  const auto parsed = cli::parse_restart(settings, words);
  if (!parsed) return check_error(parsed.error());
  require(is_signal(settings.signal), "a signal's number");
  require(settings.fd.value_or(0) >= 0, "a descriptor");
  require(!settings.walk_time_ms || *settings.walk_time_ms >= 0, "a time to walk");
  require(!(settings.file && settings.fd), "one source");
  if (settings.help || settings.version) return;
  require(settings.file || settings.fd, "a source");
}

void run(Words words) {
  cli::RunSettings settings;
  const auto parsed =
      cli::parse_options(cli::run_options(settings), words, cli::Operands::kEndOptions);
  if (!parsed) return check_error(parsed.error());
  require(parsed->size() <= words.size(), "operands are words");
}

void info(Words words) {
  cli::InfoSettings settings;
  const auto parsed = cli::parse_info(settings, words);
  if (!parsed) check_error(parsed.error());
}

void preload(Words words) {
  for (const std::string_view word : words) {
    for (const std::string_view library : {cli::kOmitLibrary, cli::kRunLibrary}) {
      const std::string once = cli::preload_list(word, library);
      require(cli::preload_list(once, library) == once, "a library is in LD_PRELOAD once");
    }
  }
}

struct Command {
  std::string_view name;
  void (*parse)(Words words);
};

constexpr Command kCommands[] = {
    {"cr_checkpoint", checkpoint}, {"cr_restart", restart}, {"cr_run", run}, {"cr_info", info},
    {"preload", preload},
};

}  // namespace
}  // namespace stasis::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace stasis::fuzz;
  const std::string line(text_of(data, size));  // ends in one more zero byte
  std::vector<const char*> words;
  for (size_t at = 0; at < line.size(); at = line.find('\0', at) + 1) {
    words.push_back(line.c_str() + at);
    if (line.find('\0', at) == std::string::npos) break;
  }
  for (const Command& command : kCommands) {
    if (!words.empty() && command.name == words[0]) command.parse(Words(words).subspan(1));
  }
  return 0;
}
