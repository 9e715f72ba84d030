// LivePages: page contents of frozen processes, and of files that the image carries.
#pragma once

#include <vector>

#include "base/unique_fd.h"
#include "model/page_source.h"
#include "trace/remote_memory.h"

namespace stasis::capture {

// A stretch of a content (deleted mapped file, shared anonymous memory) that is reachable only
// through an area of a process that maps it.
struct MappedPiece {
  u64 offset = 0;  // in the content
  u64 length = 0;
  const trace::RemoteMemory* memory = nullptr;
  RemoteAddr address;
};

// Thread-safe once filled. Each space has exactly one origin.
class LivePages : public model::PageSource {
 public:
  // `space` is the address space behind `memory`, which must outlive this.
  void add_memory(model::SpaceIndex space, const trace::RemoteMemory& memory);
  // `space` is the content of a file (read by pread; past its end reads as zeros).
  void add_file(model::SpaceIndex space, UniqueFd file);
  // `space` is put together from areas that map it; `pieces` ascending and disjoint, what none
  // covers is zeros.
  void add_mapped(model::SpaceIndex space, std::vector<MappedPiece> pieces);

  Result<void> read(model::SpaceIndex space, std::span<const model::Run> runs,
                    ByteSpan out) override;

 private:
  struct Origin {
    const trace::RemoteMemory* memory = nullptr;
    UniqueFd file;
    std::vector<MappedPiece> pieces;
  };
  std::vector<Origin> origins_;  // by space
};

// The parts of a file that are not holes (SEEK_DATA), as runs, page-aligned outward.
Result<std::vector<model::Run>> file_runs(int fd, u64 size);

}  // namespace stasis::capture
