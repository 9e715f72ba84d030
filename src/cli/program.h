// What every command's main() is: its run(), with memory set aside for the way out, and with
// whatever is thrown (only for want of memory; base/guard.h) told in plain words.
#pragma once

#include <span>
#include <string_view>

namespace stasis::cli {

using Words = std::span<const char* const>;

// The words of main() without the program's name.
inline Words behind_first(std::span<char* const> words) {
  return Words(words).subspan(words.empty() ? 0 : 1);
}

// run(the words of main()), or `failure` after a message if there is not the
// memory for it. `failure` is what the command ends with for ENOMEM.
int run_program(std::string_view command, int failure, int argc, char** argv,
                int (*run)(std::span<char* const>));

}  // namespace stasis::cli
