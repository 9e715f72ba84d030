// Context files: an input is one. What opens is read to the end; what is read is what the hashes
// promise; and it can be written and read again. image_mutate.cc makes inputs whose hashes are
// right.
#include <algorithm>

#include "base/sys.h"
#include "format/hash.h"
#include "format/image_file.h"
#include "format/layout.h"
#include "model/diff.h"
#include "model/validate.h"
#include "support.h"
#include "target.h"

namespace stasis::fuzz {
namespace {

// A frame of ten bytes may hold 4 MiB, and a file thousands of them: that takes time, not memory.
constexpr u64 kMostContents = u64{1} << 20;
constexpr u64 kMostWritten = u64{64} << 10;

u64 contents_of(const model::Image& image) {
  u64 bytes = 0;
  for (const model::Space& space : image.spaces) {
    for (const model::Run& run : space.runs) {
      if (run.kind == model::RunKind::kData) bytes += run.length;
    }
  }
  return bytes;
}

// Every frame by its place in the file, as docs/format.md has it.
bool hashes_are_right(ByteView file) {
  const u64 footer_at = file.size() - format::kFooterBytes;
  const auto footer = format::decode_footer(file.subspan(footer_at), footer_at);
  if (!footer) return false;
  u64 at = footer->data_at;
  for (const auto& each : format::decode_index(
           file.subspan(footer->index_at, footer->frames * format::kIndexEntryBytes))) {
    if (format::hash_bytes(file.subspan(at, each.stored)) != each.hash) return false;
    at += each.stored;
  }
  return at == footer->manifest_at;
}

bool read_all(format::OpenedImage& opened) {
  bool whole = true;
  for (size_t i = 0; i < opened.image.spaces.size(); ++i) {
    const auto space = static_cast<model::SpaceIndex>(i);
    for (const model::Run& run : opened.image.spaces[i].runs) {
      if (run.kind != model::RunKind::kData) continue;
      Bytes contents(run.length);
      const auto read = opened.pages->read(space, std::span(&run, 1), contents);
      require(read || read.error().code == EIO, "a run is read, or damaged");
      whole = whole && read;
      const auto raw = opened.raw_position(space, run.offset, run.length);
      require(!raw || *raw + run.length <= opened.file_bytes, "a raw position is inside the file");
    }
  }
  return whole;
}

void check_round_trip(format::OpenedImage& opened) {
  model::Image image = opened.image;
  const Bytes bytes = format::written(image, *opened.pages,
                                      {.compression = format::Compression::kNone, .workers = 1});
  require(!bytes.empty(), "what was read can be written");
  auto again = format::opened(bytes);
  require(again.ok(), "what was written can be read");
  require(again->image == image, "what is read is what was written");
  const auto differences = model::diff_contents(opened.image, *opened.pages, image, *again->pages);
  require(differences && differences->empty(), "contents are the same");
}

}  // namespace
}  // namespace stasis::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace stasis::fuzz;
  const stasis::ByteView file = view_of(data, size);
  auto opened = stasis::format::opened(file);
  if (!opened) {
    require(!opened.error().what.empty(), "an error is told");
    return 0;
  }
  require(stasis::model::validate(opened->image).ok(), "what opens keeps the model's rules");
  if (contents_of(opened->image) > kMostContents) return 0;
  const bool right = stasis::format::check_frames(*opened).ok();
  require(right == hashes_are_right(file), "only what has the hashes of the index is accepted");
  const bool verified = stasis::format::verify(*opened).ok();
  require(right || !verified, "what is verified has its hashes");
  require(read_all(*opened) == verified, "what is verified can be read");
  if (verified && contents_of(opened->image) <= kMostWritten) check_round_trip(*opened);
  return 0;
}
