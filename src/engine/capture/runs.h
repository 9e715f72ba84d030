// Arithmetic on lists of runs (pure).
#pragma once

#include <vector>

#include "model/memory.h"

namespace stasis::capture {

// Ascending and disjoint: overlapping and adjacent runs of one kind become one. Where runs of
// different kinds overlap, data wins.
std::vector<model::Run> merge_runs(std::vector<model::Run> runs);

// What of `from` lies in none of `taken`, ascending. Both in any order; those of `from` are
// disjoint. Kinds of `taken` do not matter.
std::vector<model::Run> subtract_runs(std::vector<model::Run> from, std::vector<model::Run> taken);

}  // namespace stasis::capture
