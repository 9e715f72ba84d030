// main() of every command. The last words are written without allocating.
#include "program.h"

#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <exception>

#include "base/guard.h"

namespace stasis::cli {
namespace {

void say(std::string_view command, std::string_view text) {
  const auto part = [](std::string_view words) {
    return iovec{.iov_base = const_cast<char*>(words.data()), .iov_len = words.size()};
  };
  const std::array parts = {part(command), part(": "), part(text), part("\n")};
  (void)::writev(STDERR_FILENO, parts.data(), static_cast<int>(parts.size()));  // nobody to tell
}

constexpr std::string_view kOutOfMemory =
    "out of memory before anything was done; raise the limit on memory (ulimit -v), or free some";

}  // namespace

int run_program(std::string_view command, int failure, int argc, char** argv,
                int (*run)(std::span<char* const>)) {
  try {
    if (!prepare_for_little_memory()) {
      say(command, kOutOfMemory);
      return failure;
    }
    return run({argv, static_cast<size_t>(argc)});
  } catch (...) {
    const Error error = caught_exception("go on");
    say(command, error.what);
    return failure;
  }
}

}  // namespace stasis::cli
