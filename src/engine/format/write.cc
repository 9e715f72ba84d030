// write_image: header, frames, manifest, index, footer, front to back.
#include <fmt/format.h>

#include <cerrno>

#include "base/guard.h"
#include "format/hash.h"
#include "format/image_file.h"
#include "format/layout.h"
#include "format/manifest.h"
#include "format/output.h"
#include "format/pipeline.h"
#include "model/validate.h"

namespace stasis::format {
namespace {

class ImageWriter {
 public:
  ImageWriter(int fd, model::Image& image, const WriteOptions& options)
      : out_(fd, [this] { return keep_going(); }), image_(image), options_(options) {}

  Result<WriteReport> run(model::PageSource& pages) {
    TRY(check());
    TRY(write_header());
    TRY(write_frames(pages));
    TRY(write_manifest());
    TRY(write_index());
    TRY(write_footer());
    report_.file_bytes = out_.position();
    return report_;
  }

 private:
  bool keep_going() {
    return !options_.progress || options_.progress(report_.page_bytes, total_bytes_);
  }

  Result<void> check() {
    if (image_.origin.page_size != kPageSize) {
      return fail(EINVAL,
                  fmt::format("pages of {} bytes cannot be written", image_.origin.page_size));
    }
    return model::validate(image_);
  }

  Result<void> write_header() {
    const bool raw = options_.compression == Compression::kNone;
    const Bytes header =
        encode(Header{raw ? kCompressionNone : kCompressionZstd,
                      static_cast<u32>(image_.origin.page_size), image_.origin.architecture});
    footer_.header_hash = hash_bytes(header);
    TRY(out_.write(header));
    if (raw) TRY(out_.write(Bytes(kPageSize - header.size())));
    footer_.data_at = out_.position();
    return {};
  }

  Result<void> write_frames(model::PageSource& pages) {
    const Plan plan = plan_batches(image_);
    total_bytes_ = plan.bytes;
    const FileAreas areas(image_);
    std::vector<std::vector<model::Run>> runs(image_.spaces.size());
    Pipeline pipeline(plan, areas, pages, options_);
    for (size_t i = 0; i < plan.batches.size(); ++i) {
      const Frame& frame = *TRY(pipeline.next());
      TRY(write_frame(frame));
      for (const Piece& piece : frame.kept) add_run(runs[piece.space], piece);
      report_.page_bytes += frame.bytes_read;
      if (!keep_going()) return fail(ECANCELED, "stopped as asked");
    }
    for (size_t i = 0; i < runs.size(); ++i) image_.spaces[i].runs = std::move(runs[i]);
    return {};
  }

  Result<void> write_frame(const Frame& frame) {
    if (frame.length == 0) return {};
    index_.push_back({static_cast<u32>(frame.stored), frame.length, frame.hash});
    report_.stored_bytes += frame.length;
    return out_.write(ByteView(frame.buffer).first(frame.stored));
  }

  // Joins the halves of a run that a frame boundary cut, and nothing else.
  void add_run(std::vector<model::Run>& runs, const Piece& piece) {
    const bool same = last_space_ == piece.space && last_run_ == piece.run && !runs.empty();
    last_space_ = piece.space;
    last_run_ = piece.run;
    if (same && runs.back().kind == piece.part.kind &&
        runs.back().offset + runs.back().length == piece.part.offset) {
      runs.back().length += piece.part.length;
    } else {
      runs.push_back(piece.part);
    }
  }

  Result<void> write_manifest() {
    const StoredManifest manifest = TRY(encode_manifest(image_));
    footer_.manifest_at = out_.position();
    footer_.manifest_stored = manifest.stored.size();
    footer_.manifest_length = manifest.length;
    footer_.manifest_hash = hash_bytes(manifest.stored);
    return out_.write(manifest.stored);
  }

  Result<void> write_index() {
    const Bytes index = encode(index_);
    footer_.index_at = out_.position();
    footer_.frames = index_.size();
    footer_.index_hash = hash_bytes(index);
    return out_.write(index);
  }

  Result<void> write_footer() {
    footer_.file_bytes = out_.position() + kFooterBytes;
    return out_.write(encode(footer_));
  }

  Output out_;
  model::Image& image_;
  const WriteOptions& options_;
  WriteReport report_;
  u64 total_bytes_ = 0;  // of page contents
  Footer footer_;
  std::vector<FrameEntry> index_;
  model::SpaceIndex last_space_ = 0;
  size_t last_run_ = 0;
};

}  // namespace

Result<WriteReport> write_image(int fd, model::Image& image, model::PageSource& pages,
                                const WriteOptions& options) {
  return guarded("write the context file",
                 [&] { return ImageWriter(fd, image, options).run(pages); });
}

}  // namespace stasis::format
