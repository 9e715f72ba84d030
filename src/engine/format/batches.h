// Cuts the runs of an image into batches, the work of one worker and the contents of one frame.
// Also knows where a zero page must be named, and where its absence says the same.
#pragma once

#include <map>
#include <vector>

#include "base/types.h"
#include "model/image.h"

namespace stasis::format {

// Part of one run. Zero and guard runs are pieces too, so that output keeps their order, but weigh
// nothing.
struct Piece {
  model::SpaceIndex space = 0;
  size_t run = 0;  // index among the space's runs: output is never joined across two of them
  model::Run part;
};

struct Batch {
  size_t first = 0, count = 0;  // of the pieces
  u64 bytes = 0;                // contents to be read, at most kFrameBytes
};

struct Plan {
  std::vector<Piece> pieces;
  std::vector<Batch> batches;
  u64 bytes = 0;  // contents of all batches
};

Plan plan_batches(const model::Image& image);

// Where a page without a run would read as something else than zeros.
class FileAreas {
 public:
  explicit FileAreas(const model::Image& image);
  [[nodiscard]] bool covers(model::SpaceIndex space, u64 address) const;
  // The parts of `run` that lie in such areas.
  [[nodiscard]] std::vector<model::Run> inside(model::SpaceIndex space,
                                               const model::Run& run) const;

 private:
  std::map<model::SpaceIndex, std::vector<std::pair<u64, u64>>> areas_;  // ascending
};

}  // namespace stasis::format
