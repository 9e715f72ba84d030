// cr_restart: rebuilds the processes of a context file, is their parent, and ends as they end.
#include <fmt/format.h>

#include <cerrno>

#include "block.h"
#include "cancel.h"
#include "human.h"
#include "job.h"
#include "messages.h"
#include "program.h"
#include "progress.h"
#include "requests.h"

namespace stasis::cli {
namespace {

constexpr std::string_view kCommand = "cr_restart";

// A failure: the command for its class, if there is one, decides whether it is told.
template <class Tell>
int fail_with(const RestartSettings& settings, FailureClass kind, int code, Tell tell) {
  const std::string& hook = settings.run_on_fail[static_cast<size_t>(kind)];
  if (!hook.empty()) {
    if (const int hook_code = run_hook(hook); hook_code != 0) return hook_code;
  }
  tell();
  return exit_code(code);
}

int fail_restart(const RestartSettings& settings, const Error& error) {
  return fail_with(settings, classify_restart_failure(error.code), error.code,
                   [&] { settings.console.fail(error, restart_failure(error.code)); });
}

std::string summary(const engine::RestartReport& report, const std::string& source) {
  const std::string inside =
      report.root_inside != report.root ? fmt::format(" (inside: {})", report.root_inside) : "";
  return fmt::format("{}: restarted {} as process {}{}: {}, {}, {} of memory in {}; ids {}\n",
                     kCommand, source, report.root, inside,
                     count(report.pids.size(), "process", "processes"),
                     count(report.threads, "thread"), human_bytes(report.memory_bytes),
                     human_time(report.total_us), engine::describe(report.way));
}

// An unopenable context file counts as a wrong argument, with BLCR's own sentence.
int fail_open(const RestartSettings& settings, const Error& error) {
  return fail_with(settings, FailureClass::kArguments, kUsageError, [&] {
    settings.console.say(fmt::format("Failed to open({}, O_RDONLY): {}\n", source_name(settings),
                                     error_text(error.code)));
  });
}

int restart_job(const RestartSettings& settings) {
  auto source = open_source(settings);
  if (!source) return fail_open(settings, source.error());
  auto request = to_request(settings, std::move(*source));
  // A checkpoint that meets us leaves us out or not, as our block says; without memory for it, not.
  (void)::cri_block_create(CRI_KIND_RESTART, settings.omit);
  ::cri_allow_tracing();
  JobSignals signals;
  ProgressLine line(fmt::format("restarting {}", request.name), !settings.console.quiet);
  request.progress = [&](u64 done, u64 total) {
    line.show(done, total);
    return signals.cancel_requested() == 0;
  };
  request.walk_progress = [&](u64 done, u64 total) {
    line.show_walk(done, total);
    return signals.cancel_requested() == 0;
  };
  const auto report = engine::restart(std::move(request));
  line.clear();
  if (!report) {
    const int code = fail_restart(settings, report.error());
    if (report.error().code == ECANCELED) die_of(signals.cancel_requested());
    return code;
  }
  settings.console.note(report->notes);
  if (settings.console.verbosity > 0) settings.console.say(summary(*report, source_name(settings)));
  if (!settings.run_on_success.empty()) {
    if (const int code = run_hook(settings.run_on_success); code != 0) return code;
  }
  if (settings.detach) return 0;
  const auto status = signals.wait_for(report->root);
  if (!status) return fail_restart(settings, status.error());
  end_like(*status);
}

int run(std::span<char* const> words) {
  RestartSettings settings;
  const auto parsed = parse_restart(settings, behind_first(words));
  if (settings.help) {
    const std::string synopsis = fmt::format("{} [options] FILE", kCommand);
    return answer(usage_text(synopsis, restart_options(settings))) ? 0 : exit_code(EIO);
  }
  if (settings.version) {
    return answer(fmt::format("{} version {}\n", kCommand, STASIS_VERSION)) ? 0 : exit_code(EIO);
  }
  if (!parsed) {
    return fail_with(settings, FailureClass::kArguments, kUsageError,
                     [&] { settings.console.misuse(kCommand, parsed.error()); });
  }
  settings.console.set_up_log();
  return restart_job(settings);
}

}  // namespace
}  // namespace stasis::cli

int main(int argc, char** argv) {
  return stasis::cli::run_program(stasis::cli::kCommand, stasis::cli::exit_code(ENOMEM), argc, argv,
                                  stasis::cli::run);
}
