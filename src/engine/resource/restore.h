// Making all open files and mapped files of an image, before any process exists, in two passes
// (check everything; then create), and the calls that settle them afterwards.
#pragma once

#include <vector>

#include "resource/handler.h"

namespace stasis::resource {

// Terminals and outside pipes follow cr_restart's descriptors number by number (BLCR), also where
// the saved descriptors were dups of one open file but cr_restart's are not ("cr_restart X >log"):
// splits such open files. To be called on the image before all else.
void separate_followers(model::Image& image);

// Files that the image carries although they had names (--save-exe and its like) are used under
// their names where they are the same still: forgets what is carried of them in `image`, which is
// that of `context`. To be called before what follows.
void prefer_files_in_place(model::Image& image, const RestoreContext& context);

// Acts as the user of all processes, where there is only one, so that nothing that is done for the
// image meanwhile can be done with our rights. What follows acts for the holders of each resource
// by itself.
Result<Acting> act_for_all(const RestoreContext& context);

// Acts as the user of one process of the image, by its index there.
Result<Acting> act_for_process(size_t process, const RestoreContext& context);

// Everything that stands in the way, all at once; creates nothing.
std::vector<Refusal> restore_obstacles(const RestoreContext& context);

// The same for a checkpoint, of what is there when nothing has changed and whatever cr_restart is
// given: without what follows cr_restart's own descriptors.
std::vector<Refusal> lasting_obstacles(const RestoreContext& context);

struct Restored {
  std::vector<UniqueFd> open_files;  // [i] is Image::open_files[i], offset and flags as saved
};
Result<Restored> create_open_files(RestoreContext& context);

// A descriptor of ours through which `resource` (a RegularFile or Memfd) can be mapped with the
// access the area needs; SharedMemory has none (made in the target). Cached in the context.
Result<int> mapping_descriptor(model::ResourceIndex resource, bool writable_shared,
                               RestoreContext& context);

// Owners, signals, locks, epoll items, timers, pidfds: appended to the script of a process. To be
// called when all processes have their descriptors and their memory (seals forbid later mappings),
// as late as possible (timers start here).
void settle(RestoreContext& context, SettleCalls& calls);

}  // namespace stasis::resource
