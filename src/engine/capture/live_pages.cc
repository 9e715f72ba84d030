// Page contents taken from where they live: memory of frozen processes and files.
#include "capture/live_pages.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/sys.h"

namespace stasis::capture {
namespace {

using model::Run;

Result<void> read_memory(const trace::RemoteMemory& memory, std::span<const Run> runs,
                         ByteSpan out) {
  std::vector<trace::RemoteSpan> spans;
  spans.reserve(runs.size());
  for (const Run& run : runs) spans.push_back({.start = {run.offset}, .length = run.length});
  return memory.read(spans, out);
}

// What lies behind the end of the file is zeros.
Result<void> read_file(int fd, u64 offset, ByteSpan out) {
  const size_t got = TRY(sys::pread_full(fd, out, offset));
  std::memset(out.data() + got, 0, out.size() - got);
  return {};
}

Result<void> read_mapped(std::span<const MappedPiece> pieces, u64 offset, ByteSpan out) {
  auto piece = std::ranges::upper_bound(pieces, offset, {}, &MappedPiece::offset);
  if (piece != pieces.begin()) --piece;
  for (; !out.empty() && piece != pieces.end(); ++piece) {
    if (piece->offset + piece->length <= offset) continue;
    const u64 gap = std::min<u64>(out.size(), std::max(piece->offset, offset) - offset);
    std::memset(out.data(), 0, gap);
    offset += gap;
    out = out.subspan(gap);
    const u64 skip = offset - piece->offset;
    const u64 length = out.empty() ? 0 : std::min<u64>(out.size(), piece->length - skip);
    if (length != 0) TRY(piece->memory->read(piece->address + skip, out.first(length)));
    offset += length;
    out = out.subspan(length);
  }
  std::memset(out.data(), 0, out.size());
  return {};
}

// An open file description of our own on the same file: the given one may be shared with a frozen
// process, whose offset must not move and which may be write-only.
Result<UniqueFd> reopen(int fd) {
  return sys::open(fmt::format("/proc/self/fd/{}", fd), O_RDONLY | O_NOCTTY | O_NONBLOCK);
}

std::vector<Run> whole(u64 size) {
  if (size == 0) return {};
  return {Run{.offset = 0, .length = page_up(size)}};
}

// Where data (or a hole) begins at or behind `offset`; nullopt: nowhere before the end.
Result<std::optional<u64>> seek(int fd, u64 offset, int whence) {
  const auto found = sys::check(::lseek(fd, static_cast<off_t>(offset), whence), "search",
                                fmt::format("descriptor {} for data", fd));
  if (found) return std::optional<u64>(static_cast<u64>(*found));
  if (found.error().code == ENXIO) return std::optional<u64>();
  return found.error();
}

}  // namespace

void LivePages::add_memory(model::SpaceIndex space, const trace::RemoteMemory& memory) {
  if (origins_.size() <= space) origins_.resize(space + 1);
  origins_[space].memory = &memory;
}

void LivePages::add_file(model::SpaceIndex space, UniqueFd file) {
  if (origins_.size() <= space) origins_.resize(space + 1);
  auto own = reopen(file.get());  // where our rights do not suffice the given one must do
  origins_[space].file = own ? std::move(*own) : std::move(file);
}

void LivePages::add_mapped(model::SpaceIndex space, std::vector<MappedPiece> pieces) {
  if (origins_.size() <= space) origins_.resize(space + 1);
  origins_[space].pieces = std::move(pieces);
}

Result<void> LivePages::read(model::SpaceIndex space, std::span<const Run> runs, ByteSpan out) {
  if (space >= origins_.size()) return fail(EINVAL, fmt::format("no space {} to read", space));
  const Origin& origin = origins_[space];
  if (origin.memory != nullptr) return read_memory(*origin.memory, runs, out);
  for (const Run& run : runs) {
    if (run.length > out.size()) return fail(EINVAL, "less room than pages to read");
    const ByteSpan part = out.first(run.length);
    TRY(origin.file ? read_file(origin.file.get(), run.offset, part)
                    : read_mapped(origin.pieces, run.offset, part));
    out = out.subspan(run.length);
  }
  return {};
}

Result<std::vector<Run>> file_runs(int fd, u64 size) {
  auto own = reopen(fd);
  if (!own) return whole(size);  // seeking the given one would move its owner's offset
  std::vector<Run> runs;
  for (u64 at = 0; at < size;) {
    const auto data = seek(own->get(), at, SEEK_DATA);
    if (!data) return whole(size);  // a filesystem that cannot tell
    if (!*data || **data >= size) break;
    const auto hole = TRY(seek(own->get(), **data, SEEK_HOLE));
    const u64 start = page_down(**data);
    at = std::min(hole.value_or(size), size);
    if (!runs.empty() && runs.back().offset + runs.back().length >= start) {
      runs.back().length = page_up(at) - runs.back().offset;
    } else {
      runs.push_back({.offset = start, .length = page_up(at) - start});
    }
  }
  return runs;
}

}  // namespace stasis::capture
