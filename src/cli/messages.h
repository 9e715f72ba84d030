// What the commands say and exit with: BLCR's sentences and codes (programs and scripts compare
// them), made from Errors. Texts only; who prints them decides about --quiet.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace stasis::cli {

// cr_strerror(): the text of an errno value or of one of BLCR's codes.
std::string error_text(int code);

// The exit code that tells `code`: its low eight bits, but never 0.
int exit_code(int code);

// The sentence a failed cr_checkpoint ends with.
std::string checkpoint_failure(int code);
// The same for cr_restart.
std::string restart_failure(int code);

// Each line of `text` as "- line\n"; empty lines are dropped.
std::string behind_dashes(std::string_view text);
// What led to a failure, each line behind "- ": the error's message, then what the user can do.
std::string details(const Error& error);

// BLCR's classes of restart failures; each has its --run-on-fail-* command.
enum class FailureClass { kTemporary, kEnvironment, kArguments, kPermanent };
FailureClass classify_restart_failure(int code);

}  // namespace stasis::cli
