// The rows; of --run and --omit the last one counts.
#include "run_options.h"

namespace stasis::cli {

std::vector<Option> run_options(RunSettings& s) {
  const auto set = [](bool& flag, bool to) {
    return [&flag, to](std::string_view) -> Result<void> {
      flag = to;
      return {};
    };
  };
  return {
      {"", "run", "", "make the program able to be checkpointed (default)", set(s.omit, false)},
      {"", "omit", "", "have the program left out of checkpoints", set(s.omit, true)},
      {"", "userns", "",
       "run it in a user namespace of its own: may be saved where Yama's scope is 2",
       set(s.user_namespace, true)},
      {"?h", "help", "", "print this text", set(s.help, true), true},
      {"", "version", "", "print the version", set(s.version, true), true},
  };
}

}  // namespace stasis::cli
