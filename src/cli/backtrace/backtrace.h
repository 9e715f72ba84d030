// The stacks of the threads of an image, as text: cr_info --backtrace, and cr_checkpoint when
// threads did not arrive in time.
#pragma once

#include <span>
#include <string>

#include "model/image.h"
#include "model/page_source.h"

namespace stasis::cli {

// Of all threads, a heading for each process, and why files could not be used.
std::string backtraces(const model::Image& image, model::PageSource& pages);

// Of the threads `tids` alone, without headings.
std::string backtraces(const model::Image& image, model::PageSource& pages,
                       std::span<const Pid> tids);

}  // namespace stasis::cli
