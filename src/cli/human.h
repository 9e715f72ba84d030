// Numbers as people read them.
#pragma once

#include <string>
#include <string_view>

#include "base/types.h"

namespace stasis::cli {

std::string human_bytes(u64 bytes);   // "812 B", "61.3 KiB", "1.5 GiB"
std::string human_time(i64 time_us);  // "850 us", "14.2 ms", "3.1 s"
std::string count(u64 number, std::string_view noun,
                  std::string_view plural = {});  // "1 thread", "4 threads"

}  // namespace stasis::cli
