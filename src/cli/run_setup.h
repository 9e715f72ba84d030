// What cr_run prepares before it becomes the program.
#pragma once

#include <span>
#include <string>

#include "base/result.h"

namespace stasis::cli {

// How LD_PRELOAD must name `library`: by its bare name where the loader finds it by itself (so that
// programs of another architecture find theirs), else by the path of the first of `folders` that
// has it; empty when nobody has it.
std::string preload_name(const std::string& library, std::span<const std::string> folders);

// Puts this process into a user namespace of its own, in which its user and group keep their
// numbers and all others are nobody. Whoever has the same user outside may trace what runs there,
// at Yama's scopes 1 and 2 too.
Result<void> enter_user_namespace();

}  // namespace stasis::cli
