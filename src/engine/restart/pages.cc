// Copying pages. Decompressing is most of the work, so that two threads share it when there is much
// (process_vm_writev needs no ptrace stop and may be called by any thread of ours). Pieces become
// batches of about a MiB, as the source likes to be asked for much at once.
#include "restart/pages.h"

#include <fmt/format.h>
#include <sys/syscall.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>

#include "base/guard.h"
#include "restart/memory_plan.h"

namespace stasis::restart {
namespace {

constexpr u64 kBatch = 1 << 20;
constexpr u64 kWorthThreads = 32 << 20;
constexpr u64 kRawPerScript = 64 << 20;
constexpr size_t kCallsPerScript = 2048;

bool can_hold(const model::Vma& vma) {
  return vma.kind == model::VmaKind::kAnonymous || vma.kind == model::VmaKind::kStack ||
         vma.kind == model::VmaKind::kFile;
}

void split(u64 offset, u64 length, RemoteAddr to, bool zero, u64 largest,
           std::vector<Piece>& pieces) {
  while (length > 0) {
    const u64 part = std::min(length, largest);
    pieces.push_back({offset, part, to, zero});
    offset += part;
    to = to + part;
    length -= part;
  }
}

using Batch = std::span<const Piece>;

std::vector<Batch> batches_of(std::span<const Piece> pieces) {
  std::vector<Batch> batches;
  for (size_t first = 0; first < pieces.size();) {
    size_t count = 0;
    for (u64 bytes = 0; first + count < pieces.size(); ++count) {
      bytes += pieces[first + count].length;
      if (count > 0 && bytes > kBatch) break;
    }
    batches.push_back(pieces.subspan(first, count));
    first += count;
  }
  return batches;
}

u64 bytes_of(std::span<const Piece> pieces) {
  u64 bytes = 0;
  for (const Piece& piece : pieces) bytes += piece.length;
  return bytes;
}

// Adjacent pieces go in one call.
Result<void> write_pieces(const PageCopy& copy, Batch batch, ByteView data) {
  for (size_t i = 0; i < batch.size();) {
    const RemoteAddr to = batch[i].to;
    u64 length = 0;
    for (; i < batch.size() && batch[i].to == to + length; ++i) length += batch[i].length;
    TRY(copy.target.memory().write(to, data.first(length)).context("restore memory"));
    data = data.subspan(length);
  }
  return {};
}

Result<void> copy_batch(const PageCopy& copy, Batch batch, Bytes& buffer) {
  buffer.resize(bytes_of(batch));
  std::vector<model::Run> runs;
  for (const Piece& piece : batch) {
    runs.push_back({piece.offset, piece.length, model::RunKind::kData});
  }
  if (batch.front().zero) {
    std::fill(buffer.begin(), buffer.end(), std::byte{0});
  } else {
    TRY(copy.source.read(copy.space, runs, buffer).context("read page contents"));
  }
  return write_pieces(copy, batch, buffer);
}

class Workers {
 public:
  Workers(const PageCopy& copy, std::vector<Batch> batches)
      : copy_(copy), batches_(std::move(batches)) {}

  Result<void> run(size_t count) {
    std::vector<std::thread> others;
    try {
      for (size_t i = 1; i < count; ++i) others.emplace_back([this] { work(); });
    } catch (const std::exception&) {
      // A limit, no memory, or namespaces.cc: those that are there do the work.
    }
    work();
    for (std::thread& other : others) other.join();
    return std::move(result_);
  }

 private:
  void work() {
    Bytes buffer;
    for (size_t i = next_++; i < batches_.size() && !failed_; i = next_++) {
      note(guarded("restore memory", [&] { return copy_batch(copy_, batches_[i], buffer); }),
           batches_[i]);
    }
  }
  void note(Result<void> result, Batch batch) {
    const std::lock_guard lock(mutex_);
    if (result && copy_.done) {
      result = guarded("restore memory", [&] { return copy_.done(bytes_of(batch)); });
    }
    if (result) return;
    if (!failed_) result_ = std::move(result);
    failed_ = true;
  }

  const PageCopy& copy_;
  std::vector<Batch> batches_;
  std::atomic<size_t> next_ = 0;
  std::atomic<bool> failed_ = false;
  std::mutex mutex_;
  Result<void> result_;
};

Result<void> copy_by_us(const PageCopy& copy, std::span<const Piece> pieces) {
  std::vector<Piece> data, zeros;
  for (const Piece& piece : pieces) (piece.zero ? zeros : data).push_back(piece);
  std::vector<Batch> batches = batches_of(data);
  for (const Batch& batch : batches_of(zeros)) batches.push_back(batch);
  const bool much = bytes_of(pieces) >= kWorthThreads;
  Workers workers(copy, std::move(batches));
  return workers.run(much ? std::clamp(std::thread::hardware_concurrency(), 1U, 4U) : 1);
}

Result<void> run_raw(const PageCopy& copy, trace::Script& script, u64& bytes) {
  if (script.empty()) return {};
  (void)TRY(copy.target.run(script));
  if (copy.done) TRY(copy.done(bytes));
  script = {};
  bytes = 0;
  return {};
}

// The target reads the image itself; what does not lie raw in it comes back.
Result<std::vector<Piece>> copy_by_target(const PageCopy& copy) {
  std::vector<Piece> rest;
  trace::Script script;
  u64 bytes = 0;
  for (const Piece& piece : copy.pieces) {
    const auto position =
        piece.zero ? std::nullopt : copy.raw->position(copy.space, piece.offset, piece.length);
    if (!position) {
      rest.push_back(piece);
      continue;
    }
    script.expect(fmt::format("read the contents of {:#x}", piece.to.value),
                  static_cast<i64>(piece.length), SYS_pread64,
                  {static_cast<u64>(copy.raw_fd), piece.to.value, piece.length, *position});
    bytes += piece.length;
    if (bytes >= kRawPerScript || script.size() >= kCallsPerScript) {
      TRY(run_raw(copy, script, bytes));
    }
  }
  TRY(run_raw(copy, script, bytes));
  return rest;
}

}  // namespace

Result<std::vector<Piece>> pieces_of_memory(const model::Memory& memory, const model::Space& space,
                                            u64 largest) {
  std::vector<Piece> pieces;
  auto vma = memory.vmas.begin();
  for (const model::Run& run : space.runs) {
    if (run.kind == model::RunKind::kGuard) continue;
    u64 at = run.offset;
    const u64 end = run.offset + run.length;
    while (at < end) {
      while (vma != memory.vmas.end() && vma->end.value <= at) ++vma;
      if (vma == memory.vmas.end() || vma->start.value > at || !can_hold(*vma)) {
        return fail(EINVAL,
                    fmt::format("the image has contents at {:#x}, where nothing is mapped", at));
      }
      const u64 length = std::min(end, vma->end.value) - at;
      const bool zero = run.kind == model::RunKind::kZero;
      const bool droppable = has_flag(*vma, "dp");  // its contents are not to come back
      if (!droppable && (!zero || vma->resource)) split(at, length, {at}, zero, largest, pieces);
      at += length;
    }
  }
  return pieces;
}

std::vector<Piece> pieces_of_content(const model::Space& space, RemoteAddr start, u64 largest) {
  std::vector<Piece> pieces;
  for (const model::Run& run : space.runs) {
    if (run.kind != model::RunKind::kData) continue;
    split(run.offset, run.length, start + run.offset, false, largest, pieces);
  }
  return pieces;
}

Result<void> copy_pages(const PageCopy& copy) {
  if (copy.raw == nullptr || copy.raw_fd < 0 || !copy.raw->position) {
    return copy_by_us(copy, copy.pieces);
  }
  const std::vector<Piece> rest = TRY(copy_by_target(copy));
  return copy_by_us(copy, rest);
}

}  // namespace stasis::restart
