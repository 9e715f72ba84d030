// What the tests of context files share: contents by pattern, files in memory, random images that
// this machine accepts.
#pragma once

#include <string>

#include "base/unique_fd.h"
#include "format/image_file.h"
#include "model/image.h"

namespace stasis::format {

// Every page has contents of its own that compress somewhat; some pages are zero.
class PatternPages : public model::PageSource {
 public:
  explicit PatternPages(u64 seed, u64 zero_one_in = 5) : seed_(seed), zero_one_in_(zero_one_in) {}
  Result<void> read(model::SpaceIndex space, std::span<const model::Run> runs,
                    ByteSpan out) override;
  [[nodiscard]] bool is_zero(model::SpaceIndex space, u64 offset) const;

 private:
  u64 seed_;
  u64 zero_one_in_;
};

std::string machine();
// model::random_image of this machine's architecture.
model::Image image_for_here(u64 seed);
// A process with one anonymous area of `pages` pages, all of them data.
model::Image one_area(u64 pages);

UniqueFd memory_file();
UniqueFd file_of(ByteView bytes);
Bytes bytes_of(int fd);  // of the whole file; the position is at its start afterwards
// Writes `image` (its runs change) and gives the bytes.
Bytes written(model::Image& image, model::PageSource& pages, const WriteOptions& options = {});
Result<OpenedImage> opened(ByteView bytes);

// Contents of the pages of all runs that `image` had before it was written are the same in both.
bool same_contents(const model::Image& before, model::PageSource& a, model::PageSource& b);

}  // namespace stasis::format
