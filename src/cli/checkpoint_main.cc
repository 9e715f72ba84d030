// cr_checkpoint: saves a running process to a context file.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "base/sys.h"
#include "cancel.h"
#include "checkpoint_options.h"
#include "human.h"
#include "messages.h"
#include "progress.h"

namespace stasis::cli {
namespace {

constexpr std::string_view kCommand = "cr_checkpoint";

int check_only(const CheckpointSettings& settings) {
  const auto found = engine::check(settings.target, settings.scope);
  if (!found) {
    settings.console.fail(found.error(), checkpoint_failure(found.error().code));
    return exit_code(found.error().code);
  }
  std::string text;
  if (found->empty()) text = fmt::format("process {} can be checkpointed\n", settings.target);
  for (const Refusal& refusal : *found) {
    text += fmt::format("{}: {}\n", refusal.subject, refusal.reason);
    if (!refusal.advice.empty()) text += fmt::format("  {}\n", refusal.advice);
  }
  if (!answer(text)) return exit_code(EIO);
  return found->empty() ? 0 : 1;
}

Result<engine::CheckpointRequest> to_request(const CheckpointSettings& settings) {
  engine::CheckpointRequest request;
  request.target = settings.target;
  request.scope = settings.scope;
  if (settings.fd) {
    request.fd = TRY(sys::duplicate(*settings.fd).context(fmt::format("--fd {}", *settings.fd)));
  } else {
    request.file = context_file_name(settings);
  }
  request.destination = settings.destination;
  request.write = settings.write;
  request.save_executable = settings.save_executable;
  request.save_private = settings.save_private;
  request.save_shared = settings.save_shared;
  request.signal = settings.signal;
  request.time_limit_ms = settings.time_limit_ms;
  return request;
}

std::string summary(const engine::CheckpointReport& report) {
  const std::string where = report.file.empty() ? std::string("the descriptor") : report.file;
  return fmt::format("{}: saved {}, {}, {} of memory in {} ({}); paused {}, {} in all\n", kCommand,
                     count(report.pids.size(), "process", "processes"),
                     count(report.threads, "thread"), human_bytes(report.memory_bytes), where,
                     human_bytes(report.written.file_bytes), human_time(report.pause_us),
                     human_time(report.total_us));
}

int save(const CheckpointSettings& settings) {
  auto request = to_request(settings);
  if (!request) {
    settings.console.fail(request.error(), checkpoint_failure(request.error().code));
    return exit_code(request.error().code);
  }
  ProgressLine line(fmt::format("saving process {}", settings.target), !settings.console.quiet);
  const CancelWatch watch(settings.time_limit_ms, exit_code(ETIMEDOUT), [&settings] {
    settings.console.say(checkpoint_failure(ETIMEDOUT) + "\n");
  });
  request->write.progress = [&](u64 done, u64 total) {
    line.show(done, total);
    return watch.signal() == 0;
  };
  const auto report = engine::checkpoint(std::move(*request));
  line.clear();
  if (!report) {
    settings.console.fail(report.error(), checkpoint_failure(report.error().code));
    if (report.error().code == ECANCELED && watch.signal() != 0) die_of(watch.signal());
    return exit_code(report.error().code);
  }
  if (settings.console.verbosity > 0) settings.console.say(summary(*report));
  return 0;
}

int run(std::span<const char* const> arguments) {
  CheckpointSettings settings;
  const auto parsed = parse_checkpoint(settings, arguments);
  if (settings.help) {
    const std::string synopsis = fmt::format("{} [options] ID", kCommand);
    return answer(usage_text(synopsis, checkpoint_options(settings))) ? 0 : exit_code(EIO);
  }
  if (settings.version) {
    return answer(fmt::format("{} version {}\n", kCommand, STASIS_VERSION)) ? 0 : exit_code(EIO);
  }
  if (!parsed) {
    settings.console.misuse(kCommand, parsed.error());
    return exit_code(parsed.error().code);
  }
  settings.console.set_up_log();
  // A full pipe reader that goes away, or a file size limit, is an error to be told, not a death.
  (void)std::signal(SIGPIPE, SIG_IGN);
  (void)std::signal(SIGXFSZ, SIG_IGN);
  return settings.check ? check_only(settings) : save(settings);
}

}  // namespace
}  // namespace stasis::cli

int main(int argc, char** argv) {
  const std::span<const char* const> words(argv, static_cast<size_t>(argc));
  return stasis::cli::run(words.subspan(words.empty() ? 0 : 1));
}
