// Turns one batch into one frame: reads the pages, drops zero pages, compresses, hashes. One maker
// a worker thread; it knows nothing of files or order.
#pragma once

#include <zstd.h>

#include <memory>

#include "base/result.h"
#include "format/batches.h"
#include "format/image_file.h"

namespace stasis::format {

struct Frame {
  Bytes buffer;             // reused from frame to frame
  size_t stored = 0;        // bytes of `buffer` that go to the file
  u32 length = 0;           // bytes of the stream; 0: nothing but zeros was found
  u64 hash = 0;             // of the stored bytes
  u64 bytes_read = 0;       // contents looked at
  std::vector<Piece> kept;  // what was found, ascending; zero pieces only where they must be named
};

class FrameMaker {
 public:
  FrameMaker(const Plan& plan, const FileAreas& areas, model::PageSource& pages,
             const WriteOptions& options);
  Result<void> make(const Batch& batch, Frame& out);

 private:
  struct FreeContext {
    void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
  };

  Result<void> read(const Batch& batch, ByteSpan out);
  void keep(const Piece& piece, ByteSpan contents, size_t& from, size_t& to, Frame& out) const;
  Result<void> compress(Frame& out, ByteView contents);

  const Plan& plan_;
  const FileAreas& areas_;
  model::PageSource& pages_;
  Compression compression_;
  Bytes raw_;  // contents before compression
  std::unique_ptr<ZSTD_CCtx, FreeContext> context_;
};

}  // namespace stasis::format
