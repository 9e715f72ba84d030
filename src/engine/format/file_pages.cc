// Page contents out of a context file.
#include "format/file_pages.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/sys.h"
#include "format/hash.h"

namespace stasis::format {

FilePages::FilePages(UniqueFd fd, Place place, std::vector<FrameEntry> index,
                     const model::Image& image)
    : fd_(std::move(fd)), place_(place), index_(std::move(index)), spaces_(image.spaces.size()) {
  u64 file_at = place_.data_at;
  u64 stream_at = 0;
  for (const FrameEntry& each : index_) {
    file_at_.push_back(file_at);
    stream_at_.push_back(stream_at);
    file_at += each.stored;
    stream_at += each.length;
  }
  stream_at_.push_back(stream_at);
  u64 next = 0;
  for (size_t i = 0; i < spaces_.size(); ++i) {
    for (const model::Run& run : image.spaces[i].runs) {
      if (run.kind != model::RunKind::kData) continue;
      spaces_[i].push_back({run.offset, run.length, next});
      next += run.length;
    }
  }
}

Error FilePages::damaged(size_t frame, std::string_view why) const {
  return fail(
      EIO, fmt::format("page frame {} (at offset {}) is damaged: {}", frame, file_at_[frame], why));
}

std::unique_ptr<FilePages::Decoder> FilePages::borrow() {
  const std::lock_guard lock(mutex_);
  if (idle_.empty()) return std::make_unique<Decoder>();
  auto decoder = std::move(idle_.back());
  idle_.pop_back();
  return decoder;
}

void FilePages::give_back(std::unique_ptr<Decoder> decoder) {
  const std::lock_guard lock(mutex_);
  idle_.push_back(std::move(decoder));
}

Result<void> FilePages::read(model::SpaceIndex space, std::span<const model::Run> runs,
                             ByteSpan out) {
  if (space >= spaces_.size()) return fail(EINVAL, fmt::format("no space {}", space));
  auto decoder = borrow();
  Result<void> result;
  for (const model::Run& run : runs) {
    if (run.length > out.size()) return fail(EINVAL, "runs longer than the buffer");
    result = read_run(*decoder, space, run.offset, out.first(run.length));
    if (!result) break;
    out = out.subspan(run.length);
  }
  give_back(std::move(decoder));
  return result;
}

Result<void> FilePages::read_run(Decoder& decoder, model::SpaceIndex space, u64 offset,
                                 ByteSpan out) {
  const auto& extents = spaces_[space];
  auto extent = std::partition_point(extents.begin(), extents.end(), [&](const Extent& each) {
    return each.offset + each.length <= offset;
  });
  while (!out.empty()) {
    const u64 gap = extent == extents.end()   ? out.size()
                    : extent->offset > offset ? std::min<u64>(extent->offset - offset, out.size())
                                              : 0;
    std::memset(out.data(), 0, gap);
    out = out.subspan(gap);
    offset += gap;
    if (out.empty()) break;
    const u64 inside = offset - extent->offset;
    const u64 count = std::min<u64>(extent->length - inside, out.size());
    TRY(read_stream(decoder, extent->stream_at + inside, out.first(count)));
    out = out.subspan(count);
    offset += count;
    ++extent;
  }
  return {};
}

Result<void> FilePages::read_stream(Decoder& decoder, u64 at, ByteSpan out) {
  const auto after = std::upper_bound(stream_at_.begin(), stream_at_.end(), at);
  auto frame = static_cast<size_t>(after - stream_at_.begin()) - 1;
  for (; !out.empty(); ++frame) {
    const u64 inside = at - stream_at_[frame];
    const u64 count = std::min<u64>(index_[frame].length - inside, out.size());
    if (count == index_[frame].length) {
      TRY(load(decoder, frame, out.first(count)));
    } else {
      const Bytes& contents = *TRY(cached(decoder, frame));
      std::memcpy(out.data(), contents.data() + inside, count);
    }
    out = out.subspan(count);
    at += count;
  }
  return {};
}

Result<const Bytes*> FilePages::cached(Decoder& decoder, size_t frame) {
  for (const Cached& each : decoder.cache) {
    if (each.frame == frame) return &each.contents;
  }
  Cached& slot = decoder.cache[decoder.oldest];
  slot.frame.reset();
  slot.contents.resize(index_[frame].length);
  TRY(load(decoder, frame, slot.contents));
  slot.frame = frame;
  decoder.oldest = (decoder.oldest + 1) % decoder.cache.size();
  return &slot.contents;
}

Result<void> FilePages::load(Decoder& decoder, size_t frame, ByteSpan out) {
  if (place_.compression == Compression::kNone) return load_stored(frame, out);
  decoder.stored.resize(index_[frame].stored);
  TRY(load_stored(frame, decoder.stored));
  return decompress(decoder, frame, out);
}

Result<void> FilePages::load_stored(size_t frame, ByteSpan out) {
  const size_t got = TRY(sys::pread_full(fd_.get(), out, place_.base + file_at_[frame]));
  if (got != out.size()) return damaged(frame, "the file ends inside it");
  if (hash_bytes(out) != index_[frame].hash) return damaged(frame, "its checksum does not match");
  return {};
}

Result<void> FilePages::decompress(Decoder& decoder, size_t frame, ByteSpan out) {
  if (!decoder.context) decoder.context.reset(ZSTD_createDCtx());
  if (!decoder.context) return fail(ENOMEM, "no memory to decompress with");
  const size_t got = ZSTD_decompressDCtx(decoder.context.get(), out.data(), out.size(),
                                         decoder.stored.data(), decoder.stored.size());
  if (ZSTD_isError(got) != 0) return damaged(frame, ZSTD_getErrorName(got));
  if (got != out.size()) return damaged(frame, "it holds less than the index says");
  return {};
}

Result<u64> FilePages::check_frame(size_t number, bool contents) {
  auto decoder = borrow();
  decoder->stored.resize(index_[number].stored);
  Result<void> result = load_stored(number, decoder->stored);
  if (result && contents && place_.compression == Compression::kZstd) {
    Bytes& out = decoder->cache[0].contents;
    decoder->cache[0].frame.reset();
    out.resize(index_[number].length);
    result = decompress(*decoder, number, out);
  }
  give_back(std::move(decoder));
  TRY(std::move(result));
  return u64{index_[number].stored};
}

std::optional<u64> FilePages::raw_position(model::SpaceIndex space, u64 offset, u64 length) const {
  if (place_.compression != Compression::kNone || space >= spaces_.size()) return std::nullopt;
  const auto& extents = spaces_[space];
  const auto extent = std::partition_point(extents.begin(), extents.end(), [&](const Extent& each) {
    return each.offset + each.length <= offset;
  });
  if (extent == extents.end() || extent->offset > offset) return std::nullopt;
  const u64 inside = offset - extent->offset;
  if (length > extent->length - inside) return std::nullopt;
  const u64 position = place_.base + place_.data_at + extent->stream_at + inside;
  return position % kPageSize == 0 ? std::optional(position) : std::nullopt;
}

}  // namespace stasis::format
