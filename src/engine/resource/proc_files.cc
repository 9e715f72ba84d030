// Told by the path alone: nothing else is ever mounted over the numbers in /proc.
#include "resource/proc_files.h"

#include <cctype>
#include <string_view>

namespace stasis::resource {

bool is_about_a_process(const std::string& path) {
  constexpr std::string_view kProc = "/proc/";
  return path.starts_with(kProc) && path.size() > kProc.size() &&
         std::isdigit(static_cast<unsigned char>(path[kProc.size()])) != 0;
}

}  // namespace stasis::resource
