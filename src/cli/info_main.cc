// cr_info: shows what a context file holds. It resumes nothing and writes nothing but its answer.
#include <fmt/format.h>

#include <cerrno>

#include "backtrace/backtrace.h"
#include "base/guard.h"
#include "console.h"
#include "engine/engine.h"
#include "human.h"
#include "info_options.h"
#include "messages.h"
#include "model/print.h"
#include "program.h"
#include "support.h"

namespace stasis::cli {
namespace {

constexpr std::string_view kCommand = "cr_info";

int tell(const InfoSettings& settings, const Error& error) {
  const std::string hint = error.hint.empty() ? std::string() : fmt::format("\n  {}", error.hint);
  Console().say(fmt::format("{}: {}: {}{}\n", kCommand, settings.file, error.message(), hint));
  return exit_code(error.code);
}

std::string view_of(format::OpenedImage& opened, const std::string& file, InfoView view) {
  switch (view) {
    case InfoView::kText:
      return model::print_text(opened.image, {.file = file,
                                              .file_bytes = opened.file_bytes,
                                              .support = [&opened](const model::Process& process) {
                                                return support_words(opened.image, *opened.pages,
                                                                     process);
                                              }});
    case InfoView::kJson:
      return model::print_json(opened.image);
    case InfoView::kBacktrace:
      return backtraces(opened.image, *opened.pages);
  }
  return {};
}

int show(const InfoSettings& settings) {
  auto opened = engine::inspect(settings.file);
  if (!opened) return tell(settings, opened.error());
  auto view = guarded("describe it", [&]() -> Result<std::string> {
    return view_of(*opened, settings.file, settings.view);
  });
  if (!view) return tell(settings, view.error());
  std::string text = std::move(view).take_value();
  if (!text.ends_with('\n')) text += '\n';
  // Checked first, so that a damaged file is not described as if it were whole.
  if (settings.verify) {
    const auto checked = format::verify(*opened);
    if (!checked) return tell(settings, checked.error());
    // JSON must stay JSON for whoever reads it, with 2>&1 as well: the exit code tells.
    if (settings.view != InfoView::kJson) {
      text += fmt::format("{}: every checksum is right, {} checked\n", settings.file,
                          human_bytes(*checked));
    }
  }
  return answer(text) ? 0 : exit_code(EIO);
}

int run(std::span<char* const> words) {
  InfoSettings settings;
  const auto parsed = parse_info(settings, behind_first(words));
  if (settings.help) {
    const std::string synopsis = fmt::format("{} [options] FILE", kCommand);
    return answer(usage_text(synopsis, info_options(settings))) ? 0 : exit_code(EIO);
  }
  if (settings.version) {
    return answer(fmt::format("{} version {}\n", kCommand, STASIS_VERSION)) ? 0 : exit_code(EIO);
  }
  const Console console;
  if (!parsed) {
    console.misuse(kCommand, parsed.error());
    return exit_code(parsed.error().code);
  }
  console.set_up_log();
  return show(settings);
}

}  // namespace
}  // namespace stasis::cli

int main(int argc, char** argv) {
  return stasis::cli::run_program(stasis::cli::kCommand, stasis::cli::exit_code(ENOMEM), argc, argv,
                                  stasis::cli::run);
}
