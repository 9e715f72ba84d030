// open_image and verify: the parts of a context file, and that they agree (docs/format.md, "What a
// reader checks").
#include <fmt/format.h>
#include <sys/utsname.h>
#include <zstd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <thread>

#include "base/sys.h"
#include "format/file_pages.h"
#include "format/hash.h"
#include "format/layout.h"
#include "format/manifest.h"
#include "format/spool.h"
#include "model/validate.h"

namespace stasis::format {
namespace {

std::string machine() {
  utsname name{};
  return ::uname(&name) == 0 ? name.machine : "";
}

class Opener {
 public:
  Result<OpenedImage> run(UniqueFd fd) {
    TRY(place(std::move(fd)));
    TRY(read_header());
    TRY(read_footer());
    TRY(read_index());
    TRY(read_manifest());
    TRY(check_agreement());
    return finish();
  }

 private:
  // Finds out where the file begins and ends, spooling it first if it cannot seek.
  Result<void> place(UniqueFd fd) {
    if (S_ISDIR(TRY(sys::fstat(fd.get())).st_mode)) {
      return fail(EISDIR, "not a context file: it is a directory");
    }
    auto position = sys::check(::lseek(fd.get(), 0, SEEK_CUR), "seek in", "the context file");
    if (!position && position.error().code == ESPIPE) {
      fd = TRY(spool(fd.get()));
      position = off_t{0};
    }
    base_ = static_cast<u64>(TRY(std::move(position)));
    const off_t end =
        TRY(sys::check(::lseek(fd.get(), 0, SEEK_END), "seek in", "the context file"));
    size_ = static_cast<u64>(end) > base_ ? static_cast<u64>(end) - base_ : 0;
    fd_ = std::move(fd);
    return {};
  }

  // `count` is never more than the file holds.
  Result<Bytes> read(u64 at, u64 count, std::string_view part) {
    Bytes bytes(count);
    const size_t got = TRY(sys::pread_full(fd_.get(), bytes, base_ + at));
    if (got == count) return bytes;
    return fail(EIO, fmt::format("truncated: {} (at offset {}) ends early", part, at));
  }

  Result<void> read_header() {
    if (size_ < kHeaderBytes) {
      return fail(EIO, fmt::format("truncated: {} bytes are no context file", size_));
    }
    const Bytes bytes = TRY(read(0, kHeaderBytes, "the header"));
    header_ = TRY(decode_header(bytes));
    header_hash_ = hash_bytes(bytes);
    const std::string here = machine();
    if (header_.architecture != here) {
      return fail(kBadArch, fmt::format("the context file is of a machine of architecture {}, "
                                        "this one is {}",
                                        header_.architecture, here));
    }
    if (header_.page_size != kPageSize) {
      return fail(kBadArch,
                  fmt::format("the context file has pages of {} bytes, this machine of {}",
                              header_.page_size, kPageSize));
    }
    return {};
  }

  Result<void> read_footer() {
    if (size_ < kHeaderBytes + kFooterBytes) {
      return fail(EIO, fmt::format("truncated after {} bytes", size_));
    }
    footer_at_ = size_ - kFooterBytes;
    footer_ = TRY(decode_footer(TRY(read(footer_at_, kFooterBytes, "the footer")), footer_at_));
    if (footer_.file_bytes != size_) {
      return fail(EIO,
                  fmt::format("damaged: it has {} bytes, but says {}", size_, footer_.file_bytes));
    }
    if (footer_.header_hash != header_hash_) {
      return fail(EIO, "damaged: header (at offset 0) and footer do not belong together");
    }
    return check_positions();
  }

  // No part may be larger than the room between the one before and the footer.
  Result<void> check_positions() {
    const Footer& f = footer_;
    const bool raw = header_.compression == kCompressionNone;
    const bool fits = f.data_at == (raw ? kPageSize : kHeaderBytes) && f.data_at <= f.manifest_at &&
                      f.manifest_at <= footer_at_ &&
                      f.manifest_stored <= footer_at_ - f.manifest_at &&
                      f.index_at == f.manifest_at + f.manifest_stored &&
                      (footer_at_ - f.index_at) % kIndexEntryBytes == 0 &&
                      (footer_at_ - f.index_at) / kIndexEntryBytes == f.frames;
    if (!fits) {
      return fail(EIO, fmt::format("damaged: the positions in the footer (at offset {}) do not fit",
                                   footer_at_));
    }
    const Bytes padding = TRY(read(kHeaderBytes, f.data_at - kHeaderBytes, "the padding"));
    const bool clean =
        std::all_of(padding.begin(), padding.end(), [](std::byte b) { return b == std::byte{}; });
    return clean ? Result<void>()
                 : fail(EIO, fmt::format("the padding (at offset {}) is damaged", kHeaderBytes));
  }

  Result<void> read_index() {
    const Bytes bytes = TRY(read(footer_.index_at, footer_at_ - footer_.index_at, "the index"));
    if (hash_bytes(bytes) != footer_.index_hash)
      return index_damaged("its checksum does not match");
    index_ = decode_index(bytes);
    u64 at = footer_.data_at;
    for (const FrameEntry& each : index_) {
      const u64 most = header_.compression == kCompressionNone ? u64{each.length}
                                                               : ZSTD_compressBound(each.length);
      if (each.length == 0 || each.length > kMaxFrameBytes || each.length % kPageSize != 0 ||
          each.stored == 0 || each.stored > most ||
          (header_.compression == kCompressionNone && each.stored != each.length)) {
        return index_damaged(fmt::format("frame at offset {} has an impossible size", at));
      }
      at += each.stored;
      stream_bytes_ += each.length;
    }
    if (at != footer_.manifest_at) return index_damaged("its sizes do not fit the file");
    return {};
  }

  [[nodiscard]] Error index_damaged(std::string_view why) const {
    return fail(EIO, fmt::format("the index (at offset {}) is damaged: {}", footer_.index_at, why));
  }

  Result<void> read_manifest() {
    const Bytes stored = TRY(read(footer_.manifest_at, footer_.manifest_stored, "the manifest"));
    if (hash_bytes(stored) != footer_.manifest_hash) {
      return fail(EIO, fmt::format("the manifest (at offset {}) is damaged: its checksum does not "
                                   "match",
                                   footer_.manifest_at));
    }
    image_ = TRY(decode_manifest(stored, footer_.manifest_length));
    return model::validate(image_).context("manifest");
  }

  Result<void> check_agreement() {
    if (image_.origin.architecture != header_.architecture ||
        image_.origin.page_size != header_.page_size) {
      return fail(EIO, "damaged: header and manifest do not belong together");
    }
    u64 left = stream_bytes_;
    for (const model::Space& space : image_.spaces) {
      for (const model::Run& run : space.runs) {
        if (run.kind != model::RunKind::kData) continue;
        if (run.length > left) return index_damaged("it has fewer pages than the manifest");
        left -= run.length;
      }
    }
    if (left != 0) return index_damaged("it has more pages than the manifest");
    return {};
  }

  OpenedImage finish() {
    OpenedImage out;
    out.compression =
        header_.compression == kCompressionNone ? Compression::kNone : Compression::kZstd;
    out.file_bytes = size_;
    auto pages = std::make_unique<FilePages>(
        std::move(fd_), FilePages::Place{base_, footer_.data_at, out.compression},
        std::move(index_), image_);
    out.raw_position = [source = pages.get()](model::SpaceIndex space, u64 offset, u64 length) {
      return source->raw_position(space, offset, length);
    };
    out.fd = pages->fd();
    out.pages = std::move(pages);
    out.image = std::move(image_);
    return out;
  }

  UniqueFd fd_;
  u64 base_ = 0, size_ = 0, footer_at_ = 0, header_hash_ = 0, stream_bytes_ = 0;
  Header header_;
  Footer footer_;
  std::vector<FrameEntry> index_;
  model::Image image_;
};

}  // namespace

Result<OpenedImage> open_image(UniqueFd fd) {
  return Opener().run(std::move(fd));
}

}  // namespace stasis::format
