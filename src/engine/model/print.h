// An image in words, for cr_info: what a person wants to know first, then processes, threads,
// descriptors and memory. And all of it as JSON.
#pragma once

#include <functional>
#include <string>

#include "model/image.h"

namespace stasis::model {

struct PrintOptions {
  std::string file;    // name of the context file; may be empty
  u64 file_bytes = 0;  // 0: unknown
  bool memory = true;  // the table of memory areas
  // Words on libcr in a process, which only its memory tells; empty: none. May be empty itself.
  std::function<std::string(const Process&)> support;
};

// Several lines, the last one ended.
std::string print_text(const Image& image, const PrintOptions& options = {});
// The whole model, indented; bytes and addresses in hexadecimal. Bytes of names that are not UTF-8
// come out as U+FFFD.
std::string print_json(const Image& image);

}  // namespace stasis::model
