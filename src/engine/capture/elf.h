// The build-id note of an ELF file: tells whether a library is still the one that was mapped. The
// same reading is used when a restart compares, so that both always agree.
#pragma once

#include <string>

#include "resource/handler.h"

namespace stasis::capture {

// Lower-case hex; empty when `fd` is no ELF file or has no build-id. Hostile files are safe.
inline std::string build_id(int fd) {
  return resource::read_build_id(fd);
}

}  // namespace stasis::capture
