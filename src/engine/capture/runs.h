// Arithmetic on lists of runs (pure).
#pragma once

#include <vector>

#include "model/memory.h"

namespace stasis::capture {

// Ascending and disjoint: overlapping and adjacent runs of one kind become one. Where runs of
// different kinds overlap, data wins.
std::vector<model::Run> merge_runs(std::vector<model::Run> runs);

}  // namespace stasis::capture
