// cr_run: starts a program so that it can be checkpointed later. It allows its own user's processes
// to trace it (Yama's scope 1 would not; the permission survives exec, children do not have it),
// and puts libcr_run or libcr_omit first in LD_PRELOAD where those libraries are installed. Then it
// becomes the program: nothing stays behind.
#include <fmt/format.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <vector>

#include "base/sys.h"
#include "console.h"
#include "preload.h"
#include "run_options.h"

namespace stasis::cli {
namespace {

constexpr std::string_view kCommand = "cr_run";

// The library's name for LD_PRELOAD; empty when it is not installed.
std::string_view library_for(bool omit) {
  const std::string_view name = omit ? kOmitLibrary : kRunLibrary;
  const std::string path = fmt::format("{}/{}", STASIS_LIBRARY_DIRECTORY, name);
  return ::access(path.c_str(), R_OK) == 0 ? name : std::string_view();
}

int become(std::vector<std::string> words, bool omit) {
  const Console console;
  const std::string_view library = library_for(omit);
  if (omit && library.empty()) {
    console.say(fmt::format("{}: {} is not installed: the program could not be left out\n",
                            kCommand, kOmitLibrary));
    return 1;
  }
  const char* before = std::getenv("LD_PRELOAD");
  const std::string preload = preload_list(before == nullptr ? "" : before, library);
  if (!preload.empty()) {
    (void)::setenv("LD_PRELOAD", preload.c_str(), 1);  // fails only for want of memory
  } else {
    (void)::unsetenv("LD_PRELOAD");
  }
  // EINVAL on kernels without Yama, where nothing needs allowing.
  if (!omit) (void)::prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  ::execvp(arguments[0], arguments.data());
  const Error error = sys::last_error("run", words[0]);
  console.say(fmt::format("{}: {}\n", kCommand, error.message()));
  return error.code == ENOENT ? 127 : 126;  // as a shell tells it
}

int run(std::span<const char* const> arguments) {
  RunSettings settings;
  const auto table = run_options(settings);
  auto operands = parse_options(table, arguments, Operands::kEndOptions);
  if (settings.help) {
    return answer(usage_text("cr_run [options] [--] PROGRAM [ARGUMENT...]", table)) ? 0 : 1;
  }
  if (settings.version) {
    return answer(fmt::format("{}: version {}\n", kCommand, STASIS_VERSION)) ? 0 : 1;
  }
  if (operands && operands->empty()) operands = fail(kUsageError, "the program is missing");
  if (!operands) {
    Console().misuse(kCommand, operands.error());
    return kUsageError;
  }
  return become(std::move(*operands), settings.omit);
}

}  // namespace
}  // namespace stasis::cli

int main(int argc, char** argv) {
  const std::span<const char* const> words(argv, static_cast<size_t>(argc));
  return stasis::cli::run(words.subspan(words.empty() ? 0 : 1));
}
