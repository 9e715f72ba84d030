// cr_info --backtrace: the stack of every thread of an image, as text.
#pragma once

#include <string>

#include "format/image_file.h"

namespace stasis::cli {

std::string backtraces(format::OpenedImage& opened);

}  // namespace stasis::cli
