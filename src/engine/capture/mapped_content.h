// MappedContent: an object without a name and without a descriptor (deleted file, memfd, shared
// anonymous memory), put together from the areas that map it.
//
// The object's bytes are what a shared mapping shows. A private mapping shows them too, but for the
// pages that its process has changed: those are the process's own (they belong to its address
// space) and say nothing of the object. So each area serves the pages that are not its own, and a
// private one only where no shared one serves. What is left is out of everybody's reach, ours too:
// it is told, and is zeros after a restart. Guard pages (MADV_GUARD_INSTALL) hide the object in the
// same way, in mappings of both sorts.
#pragma once

#include <vector>

#include "base/result.h"
#include "capture/live_pages.h"
#include "model/image.h"
#include "proc/maps.h"
#include "trace/freeze.h"
#include "trace/remote_call.h"

namespace stasis::capture {

class MappedContent {
 public:
  explicit MappedContent(model::SpaceIndex space) : space_(space) {}

  [[nodiscard]] model::SpaceIndex space() const { return space_; }
  void add(trace::FrozenProcess& process, const proc::Area& area);
  // Finds the pages of the object that the areas of `process` show; asks from inside, as a page may
  // exist without being in this process's page table. `on_disk`: its pages need not be in memory.
  Result<void> note_pages(trace::FrozenProcess& process, trace::RemoteCalls& calls, bool on_disk);

  // After note_pages of every process that maps it.
  struct Parts {
    u64 size = 0;
    std::vector<model::Run> runs;      // what exists
    std::vector<MappedPiece> pieces;   // where it can be read: ascending, disjoint
    std::vector<model::Run> hidden;    // mapped, but shown by no mapping
    std::vector<model::Run> unmapped;  // between what is mapped
  };
  [[nodiscard]] Parts parts() const;

 private:
  struct Source {
    const trace::FrozenProcess* process = nullptr;
    proc::Area area;
    std::vector<model::Run> own;     // of the object's range: not the object's pages
    std::vector<model::Run> exists;  // pages of the object, own ones included
    u64 readable = 0;                // bytes from the area's beginning to the file's end
    bool asked = false;
  };
  static Result<void> find_end(Source& source);
  static void serve(const Source& source, std::vector<model::Run>& covered, Parts& parts);

  model::SpaceIndex space_;
  std::vector<Source> sources_;
};

}  // namespace stasis::capture
