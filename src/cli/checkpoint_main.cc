// cr_checkpoint: saves running processes to a context file.
#include <fmt/format.h>

#include <cerrno>
#include <csignal>

#include "backtrace/backtrace.h"
#include "cancel.h"
#include "checkpoint_options.h"
#include "human.h"
#include "messages.h"
#include "progress.h"
#include "requests.h"
#include "worker.h"

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

std::string summary(const engine::CheckpointReport& report) {
  const std::string where = report.file.empty() ? std::string("the descriptor") : report.file;
  return fmt::format("{}: saved {}, {}, {} of memory in {} ({}); paused {}, {} in all\n", kCommand,
                     count(report.pids.size(), "process", "processes"),
                     count(report.threads, "thread"), human_bytes(report.memory_bytes), where,
                     human_bytes(report.written.file_bytes), human_time(report.pause_us),
                     human_time(report.total_us));
}

int tell_failure(const CheckpointSettings& settings, const Error& error) {
  settings.console.fail(error, checkpoint_failure(error.code));
  return exit_code(error.code);
}

// What --time's last resort says; the work itself is stuck.
void tell_stuck(const Console& console) {
  console.say(checkpoint_failure(ETIMEDOUT) + "\n");
}

int save(const CheckpointSettings& settings) {
  // A full pipe reader that goes away, or a file size limit, is an error to be told, not a death.
  (void)std::signal(SIGPIPE, SIG_IGN);
  (void)std::signal(SIGXFSZ, SIG_IGN);
  auto request = to_request(settings);
  if (!request) return tell_failure(settings, request.error());
  ProgressLine line(fmt::format("saving {}", settings.target), !settings.console.quiet);
  CancelWatch watch(settings.time_limit_ms, exit_code(ETIMEDOUT),
                    [&settings] { tell_stuck(settings.console); });
  request->write.progress = [&](u64 done, u64 total) {
    line.show(done, total);
    if (total > 0) watch.note_writing();
    return watch.signal() == 0;
  };
  request->explain_late = [](const model::Image& image, model::PageSource& pages,
                             std::span<const Pid> tids) { return backtraces(image, pages, tids); };
  const auto report = engine::checkpoint(std::move(*request));
  line.clear();
  if (!report) {
    const int code = tell_failure(settings, report.error());
    if (report.error().code == ECANCELED && watch.signal() != 0) die_of(watch.signal());
    return code;
  }
  settings.console.note(report->notes);
  if (settings.console.verbosity > 0) settings.console.say(summary(*report));
  return 0;
}

int save_in_child(const CheckpointSettings& settings) {
  if (is_our_descendant(settings.target)) return save(settings);
  const auto code = run_in_child(settings.fd.value_or(-1), [&settings] { return save(settings); });
  return code ? *code : tell_failure(settings, code.error());
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
  return settings.check ? check_only(settings) : save_in_child(settings);
}

}  // namespace
}  // namespace stasis::cli

int main(int argc, char** argv) {
  const std::span<const char* const> words(argv, static_cast<size_t>(argc));
  return stasis::cli::run(words.subspan(words.empty() ? 0 : 1));
}
