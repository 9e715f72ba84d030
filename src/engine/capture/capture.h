// Frozen processes -> model::Image and the PageSource that goes with it.
#pragma once

#include <memory>
#include <set>
#include <vector>

#include "base/result.h"
#include "model/image.h"
#include "model/page_source.h"
#include "trace/freeze.h"

namespace stasis::capture {

struct CaptureOptions {
  // Files that travel with the image although they have names (carried_files.h).
  bool save_executable = false;  // BLCR --save-exe: the program
  bool save_private = false;     // --save-private: files that are mapped privately
  bool save_shared = false;      // --save-shared: files that are mapped shared
  bool carry_small = true;       // small files in places that are cleaned away; --no-carry: not
  // Inode numbers of pipes whose read end is the handle of a request of libcr. What comes through
  // it would not come after a restart: it is saved as something that is always readable.
  std::set<u64> request_handles = {};
};

// Everything that speaks against saving these processes, learnt without touching them.
// `pids`: the root first.
std::vector<Refusal> survey(std::span<const Pid> pids, const CaptureOptions& options);

// Lets this process have as many descriptors as it may: several for each that is saved.
void allow_many_descriptors();

struct Captured {
  model::Image image;
  std::unique_ptr<model::PageSource> pages;  // valid while the freeze lasts
  std::vector<std::string> notes = {};       // what the image lacks and the user should know
};

// State that turns out to be unsavable only now is an error listing all of it.
Result<Captured> capture(trace::Freeze& freeze, const CaptureOptions& options);

}  // namespace stasis::capture
