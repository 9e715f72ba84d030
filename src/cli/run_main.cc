// cr_run: starts a program so that it can be checkpointed later. It allows its own user's processes
// to trace it (Yama's scope 1 would not; the permission survives exec, children do not have it but
// for those that load libcr_run), and puts libcr_run or libcr_omit first in LD_PRELOAD. Then it
// becomes the program: nothing stays behind.
#include <fmt/format.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <vector>

#include "base/sys.h"
#include "console.h"
#include "messages.h"
#include "preload.h"
#include "program.h"
#include "run_options.h"
#include "run_setup.h"

namespace stasis::cli {
namespace {

constexpr std::string_view kCommand = "cr_run";

std::string folder_of(const std::string& path) {
  return path.substr(0, path.rfind('/'));
}

// Where the libraries may be when the loader does not find them: in the tree that we belong to,
// installed or just built, or where they were meant to be installed.
std::vector<std::string> library_folders() {
  std::vector<std::string> folders;
  if (const auto program = sys::read_link("/proc/self/exe")) {
    const std::string tree = folder_of(folder_of(*program));
    folders.push_back(fmt::format("{}/{}", tree, STASIS_LIBRARY_SUBDIRECTORY));
    folders.push_back(fmt::format("{}/libcr", tree));
  }
  folders.emplace_back(STASIS_LIBRARY_DIRECTORY);
  return folders;
}

void set_preload(const std::string& library) {
  const char* before = std::getenv("LD_PRELOAD");
  const std::string preload = preload_list(before == nullptr ? "" : before, library);
  // Both fail only for want of memory.
  if (preload.empty()) {
    (void)::unsetenv("LD_PRELOAD");
  } else {
    (void)::setenv("LD_PRELOAD", preload.c_str(), 1);
  }
}

Result<void> prepare(const RunSettings& settings) {
  const std::string name(settings.omit ? kOmitLibrary : kRunLibrary);
  const std::string library = preload_name(name, library_folders());
  if (settings.omit && library.empty()) {
    return fail(ENOENT,
                fmt::format("{} is not installed: the program could not be left out", name));
  }
  if (settings.user_namespace) TRY(enter_user_namespace());
  set_preload(library);
  // EINVAL on kernels without Yama, where nothing needs allowing.
  (void)::prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
  return {};
}

int become(std::vector<std::string> words) {
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  ::execvp(arguments[0], arguments.data());
  const Error error = sys::last_error("run", words[0]);
  Console().say(fmt::format("{}: {}\n", kCommand, error.message()));
  return error.code == ENOENT ? 127 : 126;  // as a shell tells it
}

int run(std::span<char* const> words) {
  RunSettings settings;
  const auto table = run_options(settings);
  auto operands = parse_options(table, behind_first(words), Operands::kEndOptions);
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
  if (const auto prepared = prepare(settings); !prepared) {
    const Error& error = prepared.error();
    Console().say(fmt::format("{}: {}\n{}", kCommand, error.message(), behind_dashes(error.hint)));
    return 1;
  }
  return become(std::move(*operands));
}

}  // namespace
}  // namespace stasis::cli

int main(int argc, char** argv) {
  return stasis::cli::run_program(stasis::cli::kCommand, 1, argc, argv, stasis::cli::run);
}
