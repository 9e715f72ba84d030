// Frames from batches.
#include "format/frame_maker.h"

#include <fmt/format.h>
#include <zstd_errors.h>

#include <cerrno>
#include <cstring>

#include "format/hash.h"
#include "format/layout.h"

namespace stasis::format {
namespace {

// The first word decides nearly always; otherwise "every byte equals its neighbour" is a memcmp.
bool is_zero_page(ByteView page) {
  return get64(page, 0) == 0 && std::memcmp(page.data(), page.data() + 8, page.size() - 8) == 0;
}

void add(std::vector<Piece>& kept, const Piece& origin, u64 offset, model::RunKind kind) {
  if (!kept.empty()) {
    Piece& last = kept.back();
    if (last.space == origin.space && last.run == origin.run && last.part.kind == kind &&
        last.part.offset + last.part.length == offset) {
      last.part.length += kPageSize;
      return;
    }
  }
  kept.push_back({origin.space, origin.run, {offset, kPageSize, kind}});
}

}  // namespace

FrameMaker::FrameMaker(const Plan& plan, const FileAreas& areas, model::PageSource& pages,
                       const WriteOptions& options)
    : plan_(plan), areas_(areas), pages_(pages), compression_(options.compression) {
  if (compression_ == Compression::kNone) return;
  context_.reset(ZSTD_createCCtx());
  if (!context_) return;
  (void)ZSTD_CCtx_setParameter(context_.get(), ZSTD_c_compressionLevel, options.level);  // clamps
  (void)ZSTD_CCtx_setParameter(context_.get(), ZSTD_c_checksumFlag, 1);
}

Result<void> FrameMaker::make(const Batch& batch, Frame& out) {
  Bytes& contents = compression_ == Compression::kNone ? out.buffer : raw_;
  if (contents.size() < batch.bytes) contents.resize(kFrameBytes);
  TRY(read(batch, ByteSpan(contents).first(batch.bytes)));
  out.kept.clear();
  out.bytes_read = batch.bytes;
  size_t from = 0;
  size_t to = 0;
  for (size_t i = 0; i < batch.count; ++i) {
    keep(plan_.pieces[batch.first + i], contents, from, to, out);
  }
  out.length = static_cast<u32>(to);
  out.stored = to;
  if (to == 0) return {};
  if (compression_ == Compression::kZstd) TRY(compress(out, ByteView(contents).first(to)));
  out.hash = hash_bytes(ByteView(out.buffer).first(out.stored));
  return {};
}

// One call of the source for all consecutive pieces of one space.
Result<void> FrameMaker::read(const Batch& batch, ByteSpan out) {
  std::vector<model::Run> runs;
  const size_t end = batch.first + batch.count;
  for (size_t i = batch.first; i < end;) {
    const model::SpaceIndex space = plan_.pieces[i].space;
    runs.clear();
    u64 bytes = 0;
    for (; i < end && plan_.pieces[i].space == space; ++i) {
      if (plan_.pieces[i].part.kind != model::RunKind::kData) continue;
      runs.push_back(plan_.pieces[i].part);
      bytes += runs.back().length;
    }
    if (runs.empty()) continue;
    TRY(pages_.read(space, runs, out.first(bytes)));
    out = out.subspan(bytes);
  }
  return {};
}

// Moves the pages of `piece` that are not zero from `from` to `to`, both of which advance.
void FrameMaker::keep(const Piece& piece, ByteSpan contents, size_t& from, size_t& to,
                      Frame& out) const {
  if (piece.part.kind == model::RunKind::kGuard) return out.kept.push_back(piece);
  if (piece.part.kind == model::RunKind::kZero) {
    for (const model::Run& part : areas_.inside(piece.space, piece.part)) {
      out.kept.push_back({piece.space, piece.run, part});
    }
    return;
  }
  for (u64 done = 0; done < piece.part.length; done += kPageSize) {
    const u64 offset = piece.part.offset + done;
    if (is_zero_page(contents.subspan(from, kPageSize))) {
      if (areas_.covers(piece.space, offset)) add(out.kept, piece, offset, model::RunKind::kZero);
      from += kPageSize;
      continue;
    }
    if (from != to) std::memmove(contents.data() + to, contents.data() + from, kPageSize);
    add(out.kept, piece, offset, model::RunKind::kData);
    from += kPageSize;
    to += kPageSize;
  }
}

Result<void> FrameMaker::compress(Frame& out, ByteView contents) {
  if (!context_) return fail(ENOMEM, "no memory to compress with");
  if (out.buffer.empty()) out.buffer.resize(ZSTD_compressBound(kFrameBytes));
  out.stored = ZSTD_compress2(context_.get(), out.buffer.data(), out.buffer.size(), contents.data(),
                              contents.size());
  if (ZSTD_isError(out.stored) == 0) return {};
  const bool no_memory = ZSTD_getErrorCode(out.stored) == ZSTD_error_memory_allocation;
  if (no_memory) return fail(ENOMEM, "cannot compress pages: Cannot allocate memory");
  return fail(EIO, fmt::format("cannot compress pages: {}", ZSTD_getErrorName(out.stored)));
}

}  // namespace stasis::format
