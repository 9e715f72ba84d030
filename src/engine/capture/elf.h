// The build-id note of an ELF file: tells whether a library is still the one that was mapped.
#pragma once

#include <string>

#include "base/result.h"

namespace stasis::capture {

// Lower-case hex; empty when `fd` is no ELF file or has no build-id. Hostile files are safe.
std::string build_id(int fd);

}  // namespace stasis::capture
