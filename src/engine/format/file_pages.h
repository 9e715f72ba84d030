// The PageSource of an opened context file: finds a run in the stream, the stream in frames, reads
// frames with pread, checks and decompresses them. Any number of threads may read at once; each
// uses a decoder of its own, which remembers the last frames it read.
#pragma once

#include <zstd.h>

#include <array>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "base/unique_fd.h"
#include "format/image_file.h"
#include "format/layout.h"

namespace stasis::format {

class FilePages : public model::PageSource {
 public:
  struct Place {
    u64 base = 0;     // position in the descriptor where the context file begins
    u64 data_at = 0;  // of the first frame, from base
    Compression compression = Compression::kZstd;
  };
  // `index` and the runs of `image` have been checked to agree.
  FilePages(UniqueFd fd, Place place, std::vector<FrameEntry> index, const model::Image& image);

  // Zeros where no data run is. EIO, with the frame and its offset, where the file is damaged.
  Result<void> read(model::SpaceIndex space, std::span<const model::Run> runs,
                    ByteSpan out) override;

  // Position in fd() of contents stored raw in one piece at a page boundary.
  [[nodiscard]] std::optional<u64> raw_position(model::SpaceIndex space, u64 offset,
                                                u64 length) const;
  [[nodiscard]] int fd() const { return fd_.get(); }

  // Reads frame `number` and checks its hash; with `contents` also what zstd finds inside.
  Result<u64> check_frame(size_t number, bool contents);
  [[nodiscard]] size_t frames() const { return index_.size(); }

 private:
  struct Extent {  // a data run and where its contents begin in the stream
    u64 offset = 0, length = 0, stream_at = 0;
  };
  struct FreeContext {
    void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
  };
  struct Cached {
    std::optional<size_t> frame;
    Bytes contents;
  };
  struct Decoder {
    std::unique_ptr<ZSTD_DCtx, FreeContext> context;
    Bytes stored;
    std::array<Cached, 2> cache;
    size_t oldest = 0;
  };

  std::unique_ptr<Decoder> borrow();
  void give_back(std::unique_ptr<Decoder> decoder);
  Result<void> read_run(Decoder& decoder, model::SpaceIndex space, u64 offset, ByteSpan out);
  Result<void> read_stream(Decoder& decoder, u64 at, ByteSpan out);
  Result<const Bytes*> cached(Decoder& decoder, size_t frame);
  Result<void> load(Decoder& decoder, size_t frame, ByteSpan out);
  Result<void> load_stored(size_t frame, ByteSpan out);
  Result<void> decompress(Decoder& decoder, size_t frame, ByteSpan out);
  [[nodiscard]] Error damaged(size_t frame, std::string_view why) const;

  UniqueFd fd_;
  Place place_;
  std::vector<FrameEntry> index_;
  std::vector<u64> file_at_;    // of every frame, from base
  std::vector<u64> stream_at_;  // of every frame, and the end
  std::vector<std::vector<Extent>> spaces_;
  std::mutex mutex_;  // guards idle_
  std::vector<std::unique_ptr<Decoder>> idle_;
};

}  // namespace stasis::format
