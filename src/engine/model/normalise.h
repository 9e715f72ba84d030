// What two captures of the same state may legitimately differ in is taken out of an image before it
// is compared: see normalise() for the list. The lists of resources, open files and spaces are
// renumbered by who refers to them first.
#pragma once

#include <vector>

#include "model/image.h"

namespace stasis::model {

struct Normalised {
  Image image;                      // spaces hold guard runs only
  std::vector<SpaceIndex> origins;  // which space of the original each of its spaces was
};

// Taken out:
// - when, where and by whom it was taken; times left that are not zero (see diff), their clocks;
// - labels of spaces, and data and zero runs: contents are compared by diff_contents;
// - parent, group and session (they follow who restarts) of the root; of others ids outside the
// image;
// - inodes of pipes, memfds, shared memory and carried files; times of change; paths of deleted
//   files; which terminal;
// - VmFlags that are accounting (ac, sd, um, uw); limits between neighbouring areas that are alike.
Normalised normalise(const Image& image);

}  // namespace stasis::model
