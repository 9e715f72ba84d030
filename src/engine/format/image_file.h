// A model::Image and its page contents <-> the bytes of a context file (docs/format.md).
// Written front to back: any descriptor will do, a pipe too. Read with seeks where possible; a pipe
// is spooled first. Input is hostile: every size and offset is checked before it is used.
#pragma once

#include <functional>
#include <memory>

#include "base/result.h"
#include "base/types.h"
#include "base/unique_fd.h"
#include "model/image.h"
#include "model/page_source.h"

namespace stasis::format {

enum class Compression { kNone, kZstd };

struct WriteOptions {
  Compression compression = Compression::kZstd;
  int level = 1;
  unsigned workers = 0;  // compressing threads; 0: one per CPU we may run on
  // Called now and then with bytes of page data done and in all; may be empty. Return false to stop
  // (ECANCELED).
  std::function<bool(u64 done, u64 total)> progress;
};

struct WriteReport {
  u64 page_bytes = 0;    // contents read
  u64 stored_bytes = 0;  // of these stored (not zero)
  u64 file_bytes = 0;    // of the whole file
};

// Writes everything to `fd` from its current position; does not sync. Zero pages are found and not
// stored; the runs of `image` are replaced by what was written. On error what was written is
// worthless and the caller's to remove.
Result<WriteReport> write_image(int fd, model::Image& image, model::PageSource& pages,
                                const WriteOptions& options);

struct OpenedImage {
  model::Image image;
  std::unique_ptr<model::PageSource> pages;  // owns a duplicate of the descriptor
  // Where a data run lies raw and page-aligned in the file (Compression::kNone), so that it can be
  // mapped or pread directly; nullopt if compressed.
  std::function<std::optional<u64>(model::SpaceIndex, u64 offset, u64 length)> raw_position;
  int fd = -1;  // of the file, for raw access; owned by `pages`
  Compression compression = Compression::kZstd;
  u64 file_bytes = 0;
};
// Opens what the user named as a context file. A fifo (or /dev/stdin that is a pipe) waits for its
// writer, as for cat(1). A character device is refused unopened: opening one may wait or do
// anything (EINVAL).
Result<UniqueFd> open_source(const std::string& path);

// Checks header, footer, index and manifest and that they agree; page frames are checked when read.
// Errors: EIO truncated or damaged (which part, at which offset), EINVAL not a context file or of a
// version we do not know, kBadArch another architecture. BLCR's codes for the same.
Result<OpenedImage> open_image(UniqueFd fd);

// Reads every frame and checks every checksum, decompressing too. Returns bytes of the file
// checked.
Result<u64> verify(OpenedImage& opened);
// The same without decompressing: only whether the stored bytes are what was written. As fast as
// reading the file, so that restart can do it before any process exists.
Result<u64> check_frames(OpenedImage& opened);

}  // namespace stasis::format
