// What cr_info says about libcr in a saved process, read from its control block in the image.
#pragma once

#include <string>

#include "model/image.h"
#include "model/page_source.h"

namespace stasis::cli {

// "libcr, 2 callbacks or hooks", "libcr_run", ...; empty when the process has none of it.
std::string support_words(const model::Image& image, model::PageSource& pages,
                          const model::Process& process);

}  // namespace stasis::cli
