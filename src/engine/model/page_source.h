// PageSource: the one interface through which page contents flow. Its makers are a frozen process,
// a context file, and test patterns.
#pragma once

#include "base/result.h"
#include "base/types.h"
#include "model/memory.h"

namespace stasis::model {

class PageSource {
 public:
  virtual ~PageSource() = default;

  // Fills `out` with the contents of `runs` of `space`, one behind the other; their lengths sum to
  // out.size(). Run kinds are not looked at. Callers pass up to some MiB at once; a maker may be
  // called from several threads at the same time.
  virtual Result<void> read(SpaceIndex space, std::span<const Run> runs, ByteSpan out) = 0;
};

}  // namespace stasis::model
