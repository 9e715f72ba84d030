// LD_PRELOAD as cr_run sets it.
#pragma once

#include <string>
#include <string_view>

namespace stasis::cli {

inline constexpr std::string_view kRunLibrary = "libcr_run.so.0";
inline constexpr std::string_view kOmitLibrary = "libcr_omit.so.0";

// `before` without earlier entries of the two libraries, `library` in front of it. Either may be
// empty; entries are separated by spaces or colons, as ld.so(8) reads them.
std::string preload_list(std::string_view before, std::string_view library);

}  // namespace stasis::cli
