// Page contents of an address space or of a carried file: from the image into a target's memory.
// What to copy is planned purely (clip, split); two ways do it: the target reads raw data itself
// through an inherited descriptor of the image, or we read (decompress) and write into it.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "base/result.h"
#include "model/image.h"
#include "model/page_source.h"
#include "restart/build.h"
#include "restart/target.h"

namespace stasis::restart {

// A stretch of a space that goes to `to` in the target.
struct Piece {
  u64 offset = 0;  // in the space
  u64 length = 0;
  RemoteAddr to;
  bool zero = false;
  bool operator==(const Piece&) const = default;
};

// The runs of an address space as pieces of at most `largest` bytes. Zeros are only written where
// a file would show through. EINVAL when contents have no private or shared area to go to.
Result<std::vector<Piece>> pieces_of_memory(const model::Memory& memory, const model::Space& space,
                                            u64 largest);
// The runs of a file's contents that is mapped whole at `start`.
std::vector<Piece> pieces_of_content(const model::Space& space, RemoteAddr start, u64 largest);

struct PageCopy {
  Target& target;
  model::PageSource& source;
  model::SpaceIndex space;
  std::span<const Piece> pieces;
  const RawAccess* raw = nullptr;  // with the descriptor's number in the target; null: none
  int raw_fd = -1;
  std::function<Result<void>(u64 bytes)> done;  // after each step; an error ends the copy
};
Result<void> copy_pages(const PageCopy& copy);

inline constexpr u64 kLargestPiece = 1 << 20;

}  // namespace stasis::restart
