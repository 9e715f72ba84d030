// open_image and verify: the parts of a context file, and that they agree (docs/format.md, "What a
// reader checks").
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/utsname.h>
#include <zstd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <thread>

#include "base/guard.h"
#include "base/open.h"
#include "base/sys.h"
#include "format/file_pages.h"
#include "format/hash.h"
#include "format/layout.h"
#include "format/manifest.h"
#include "format/spool.h"
#include "model/validate.h"

namespace stasis::format {
namespace {

constexpr u64 kBlock = u64{256} << 10;
// Magic, descriptor, content size, the head of a block and a byte to repeat (RFC 8878, 3.1.1).
constexpr u64 kLeastZstdFrame = 4 + 1 + 1 + 3 + 1;

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

  Result<void> read_into(u64 at, ByteSpan out, std::string_view part) {
    const size_t got = TRY(sys::pread_full(fd_.get(), out, base_ + at));
    if (got == out.size()) return {};
    return fail(EIO, fmt::format("truncated: {} (at offset {}) ends early", part, at));
  }

  // For small parts of fixed size.
  Result<Bytes> read(u64 at, u64 count, std::string_view part) {
    Bytes bytes(count);
    TRY(read_into(at, bytes, part));
    return bytes;
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

  // Of a frame: a page, or the smallest that zstd makes of one.
  [[nodiscard]] u64 least_stored() const {
    return header_.compression == kCompressionNone ? kPageSize : kLeastZstdFrame;
  }

  // No part may be larger than the room between the one before and the footer, nor than what it can
  // mean.
  Result<void> check_positions() {
    const Footer& f = footer_;
    const bool raw = header_.compression == kCompressionNone;
    const bool fits = f.data_at == (raw ? kPageSize : kHeaderBytes) && f.data_at <= f.manifest_at &&
                      f.manifest_at <= footer_at_ &&
                      f.manifest_stored <= footer_at_ - f.manifest_at &&
                      f.index_at == f.manifest_at + f.manifest_stored &&
                      (footer_at_ - f.index_at) % kIndexEntryBytes == 0 &&
                      (footer_at_ - f.index_at) / kIndexEntryBytes == f.frames &&
                      f.frames <= (f.manifest_at - f.data_at) / least_stored() &&
                      f.manifest_stored <= most_stored(f.manifest_length);
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

  // Calls use(block, its position from `at`) for `count` bytes of the file and returns their hash.
  // Only a block is in memory, so that a size that is not true (a file with holes can have any)
  // costs none.
  template <class Use>
  Result<u64> read_blocks(u64 at, u64 count, std::string_view part, Use use) {
    Hasher hasher;
    Bytes block(std::min<u64>(count, kBlock));
    for (u64 done = 0; done < count; done += block.size()) {
      block.resize(std::min<u64>(count - done, kBlock));
      TRY(read_into(at + done, block, part));
      hasher.add(block);
      TRY(use(ByteView(block)));
    }
    return hasher.value();
  }

  // Calls use(entry) for every entry of the index, each of which can be true.
  template <class Use>
  Result<void> scan_index(Use use) {
    static_assert(kBlock % kIndexEntryBytes == 0);
    u64 at = footer_.data_at;
    const auto entries = [&](ByteView block) -> Result<void> {
      for (const FrameEntry& each : decode_index(block)) {
        if (!is_possible(each)) {
          return index_damaged(fmt::format("frame at offset {} has an impossible size", at));
        }
        at += each.stored;
        use(each);
      }
      return {};
    };
    const u64 hash =
        TRY(read_blocks(footer_.index_at, footer_at_ - footer_.index_at, "the index", entries));
    if (hash != footer_.index_hash) return index_damaged("its checksum does not match");
    if (at != footer_.manifest_at) return index_damaged("its sizes do not fit the file");
    return {};
  }

  [[nodiscard]] bool is_possible(const FrameEntry& each) const {
    const bool raw = header_.compression == kCompressionNone;
    const u64 most = raw ? u64{each.length} : ZSTD_compressBound(each.length);
    return each.length != 0 && each.length <= kMaxFrameBytes && each.length % kPageSize == 0 &&
           each.stored >= least_stored() && each.stored <= most &&
           (!raw || each.stored == each.length);
  }

  // Twice, so that the entries are kept only of an index that is as it was written.
  Result<void> read_index() {
    TRY(scan_index([](const FrameEntry&) {}));
    index_.reserve(footer_.frames);
    return scan_index([this](const FrameEntry& each) {
      index_.push_back(each);
      stream_bytes_ += each.length;
    });
  }

  [[nodiscard]] Error index_damaged(std::string_view why) const {
    return fail(EIO, fmt::format("the index (at offset {}) is damaged: {}", footer_.index_at, why));
  }

  Result<void> read_manifest() {
    const u64 hash = TRY(read_blocks(footer_.manifest_at, footer_.manifest_stored, "the manifest",
                                     [](ByteView) { return Result<void>(); }));
    if (hash != footer_.manifest_hash) {
      return fail(EIO, fmt::format("the manifest (at offset {}) is damaged: its checksum does not "
                                   "match",
                                   footer_.manifest_at));
    }
    const auto stored = [this](u64 at, ByteSpan out) {
      return read_into(footer_.manifest_at + at, out, "the manifest");
    };
    image_ = TRY(decode_manifest(stored, footer_.manifest_stored, footer_.manifest_length));
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

Result<UniqueFd> open_source(const std::string& path) {
  const UniqueFd looked = TRY(sys::open(path, O_PATH));
  const mode_t mode = TRY(sys::fstat(looked.get())).st_mode;
  if (S_ISCHR(mode)) return fail(EINVAL, "not a context file: it is a character device");
  return sys::open_of_type(path, O_RDONLY | O_NOCTTY, mode);
}

Result<OpenedImage> open_image(UniqueFd fd) {
  return guarded("read the context file", [&] { return Opener().run(std::move(fd)); });
}

}  // namespace stasis::format
