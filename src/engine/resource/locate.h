// Under which name the thing behind a descriptor can be found, and under which it was opened.
#pragma once

#include <string>
#include <vector>

#include "resource/handler.h"
#include "resource/path.h"

namespace stasis::resource {

struct Located {
  std::string path;
  bool deleted = false;    // no name is left, as far as can be seen
  bool elsewhere = false;  // it has a name that was not found
};

// The name under which it was opened if it still has that one; else one of `links`, which /proc
// shows for descriptors on the same thing; else another one in the same directory.
Located locate(const FdFacts& facts, const std::vector<std::string>& links = {});

// The name under which it was opened, and whether it has lost that one.
LinkName name_opened(const FdFacts& facts);

// What helps where it has a name that was not found.
std::string give_back_name(const FdFacts& facts);

// Whether the name leads, not through a link, to the thing.
bool is_same_file(const std::string& path, const struct stat& wanted);

}  // namespace stasis::resource
