// cr_checkpoint: saves running processes to a context file.
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "apart.h"
#include "backtrace/backtrace.h"
#include "cancel.h"
#include "checkpoint_options.h"
#include "find_id.h"
#include "human.h"
#include "messages.h"
#include "program.h"
#include "progress.h"
#include "requests.h"
#include "worker.h"

namespace stasis::cli {
namespace {

constexpr std::string_view kCommand = "cr_checkpoint";

int check_only(const CheckpointSettings& settings) {
  const auto found = engine::check(settings.target, settings.scope, settings.check_restart);
  if (!found) {
    settings.console.fail(found.error(), checkpoint_failure(found.error().code));
    return exit_code(found.error().code);
  }
  std::string text;
  if (found->empty()) text = fmt::format("process {} can be checkpointed\n", settings.asked);
  for (const Refusal& refusal : *found) {
    text += fmt::format("{}: {}\n", refusal.subject, refusal.reason);
    if (!refusal.advice.empty()) text += fmt::format("  {}\n", refusal.advice);
  }
  if (!answer(text)) return exit_code(EIO);
  return found->empty() ? 0 : 1;
}

std::string summary(const engine::CheckpointReport& report) {
  const std::string where = report.file.empty() ? std::string("the descriptor") : report.file;
  return fmt::format("{}: saved {}, {}, {} of memory in {} ({}); paused {}, {} in all\n", kCommand,
                     count(report.pids.size(), "process", "processes"),
                     count(report.threads, "thread"), human_bytes(report.memory_bytes), where,
                     human_bytes(report.written.file_bytes), human_time(report.pause_us),
                     human_time(report.total_us));
}

int tell_failure(const CheckpointSettings& settings, Error error) {
  if (error.code == EMFILE && error.hint.empty()) {
    error.hint = "allow more open files (ulimit -n)";
  }
  settings.console.fail(error, checkpoint_failure(error.code));
  return exit_code(error.code);
}

// What --time's last resort says; the work itself is stuck.
void tell_stuck(const Console& console) {
  console.say(checkpoint_failure(ETIMEDOUT) + "\n");
}

// `command`: the visible process, if that is another one.
int save(const CheckpointSettings& settings, Pid command) {
  // A full pipe reader that goes away, or a file size limit, is an error to be told, not a death.
  (void)std::signal(SIGPIPE, SIG_IGN);
  (void)std::signal(SIGXFSZ, SIG_IGN);
  auto request = to_request(settings);
  if (!request) return tell_failure(settings, request.error());
  ProgressLine line(fmt::format("saving {}", settings.target), !settings.console.quiet);
  CancelWatch watch(
      settings.time_limit_ms, exit_code(ETIMEDOUT), [&settings] { tell_stuck(settings.console); },
      command);
  request->write.progress = [&](u64 done, u64 total) {
    if (watch.command_is_stopped()) {
      line.clear();  // the terminal is the shell's
    } else {
      line.show(done, total);
    }
    return watch.keep_going(done, total);
  };
  request->explain_late = [](const model::Image& image, model::PageSource& pages,
                             std::span<const Pid> tids) { return backtraces(image, pages, tids); };
  const auto report = engine::checkpoint(std::move(*request));
  line.clear();
  if (!report) {
    const bool stalled = report.error().code == ECANCELED && watch.reason();
    const int code = tell_failure(settings, stalled ? *watch.reason() : report.error());
    if (report.error().code == ECANCELED && watch.signal() != 0) die_of(watch.signal());
    return code;
  }
  settings.console.note(report->notes);
  if (settings.console.verbosity > 0) settings.console.say(summary(*report));
  return 0;
}

int save_in_child(const CheckpointSettings& settings, ArgumentWords words) {
  if (is_for_us_alone(settings.target)) {
    refuse_stops();
    return save(settings, 0);
  }
  const Pid command = ::getpid();
  const auto code =
      run_in_child(settings.fd.value_or(-1), fmt::format("stasis-worker {}", settings.target),
                   words, [&settings, command] { return save(settings, command); });
  return code ? *code : tell_failure(settings, code.error());
}

int run(ArgumentWords words) {
  fill_standard_descriptors();
  CheckpointSettings settings;
  const auto parsed = parse_checkpoint(settings, behind_first(words));
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
  const auto found = find_id(settings.asked, settings.scope);
  if (!found) return tell_failure(settings, found.error());
  settings.target = found->id;
  if (!found->note.empty()) settings.console.note({found->note});
  return settings.check ? check_only(settings) : save_in_child(settings, words);
}

}  // namespace
}  // namespace stasis::cli

int main(int argc, char** argv) {
  return stasis::cli::run_program(stasis::cli::kCommand, stasis::cli::exit_code(ENOMEM), argc, argv,
                                  stasis::cli::run);
}
