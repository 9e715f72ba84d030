// One buffer for everything; a table per space says where each data run lies in it.
#include "capture/buffered_pages.h"

#include <fmt/format.h>
#include <sys/sysinfo.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/sys.h"

namespace stasis::capture {
namespace {

constexpr u64 kMostBytes = 128 << 20;

struct Copied {
  u64 offset = 0;  // in the space
  u64 length = 0;
  u64 position = 0;  // in the buffer
};

class BufferedPages : public model::PageSource {
 public:
  BufferedPages(sys::Mapping buffer, std::vector<std::vector<Copied>> spaces)
      : buffer_(std::move(buffer)), spaces_(std::move(spaces)) {}

  Result<void> read(model::SpaceIndex space, std::span<const model::Run> runs,
                    ByteSpan out) override {
    size_t done = 0;
    for (const model::Run& run : runs) {
      const ByteView found = TRY(find(space, run));
      std::memcpy(out.data() + done, found.data(), found.size());
      done += found.size();
    }
    return {};
  }

 private:
  Result<ByteView> find(model::SpaceIndex space, const model::Run& run) const {
    const std::vector<Copied>& copied = spaces_[space];
    auto next = std::upper_bound(copied.begin(), copied.end(), run.offset,
                                 [](u64 offset, const Copied& c) { return offset < c.offset; });
    if (next == copied.begin() ||
        run.offset + run.length > (next - 1)->offset + (next - 1)->length) {
      return fail(EINVAL, fmt::format("pages at {:#x} were not copied", run.offset));
    }
    const Copied& holder = *(next - 1);
    const u64 position = holder.position + (run.offset - holder.offset);
    return ByteView(buffer_.bytes().subspan(position, run.length));
  }

  sys::Mapping buffer_;
  std::vector<std::vector<Copied>> spaces_;
};

std::vector<model::Run> data_runs(const model::Space& space) {
  std::vector<model::Run> runs;
  std::copy_if(space.runs.begin(), space.runs.end(), std::back_inserter(runs),
               [](const model::Run& run) { return run.kind == model::RunKind::kData; });
  return runs;
}

}  // namespace

u64 content_bytes(const model::Image& image) {
  u64 bytes = 0;
  for (const model::Space& space : image.spaces) {
    for (const model::Run& run : data_runs(space)) bytes += run.length;
  }
  return bytes;
}

bool may_buffer(u64 bytes) {
  struct sysinfo memory = {};
  if (::sysinfo(&memory) != 0) return false;
  return bytes <= kMostBytes && bytes <= u64{memory.freeram} * memory.mem_unit / 4;
}

Result<std::unique_ptr<model::PageSource>> buffer_pages(const model::Image& image,
                                                        model::PageSource& source) {
  sys::Mapping buffer = TRY(sys::Mapping::anonymous(std::max(kPageSize, content_bytes(image))));
  std::vector<std::vector<Copied>> spaces(image.spaces.size());
  u64 position = 0;
  for (model::SpaceIndex index = 0; index < image.spaces.size(); ++index) {
    const std::vector<model::Run> runs = data_runs(image.spaces[index]);
    const u64 start = position;
    for (const model::Run& run : runs) {
      spaces[index].push_back({.offset = run.offset, .length = run.length, .position = position});
      position += run.length;
    }
    TRY(source.read(index, runs, buffer.bytes().subspan(start, position - start)));
  }
  return std::unique_ptr<model::PageSource>(
      std::make_unique<BufferedPages>(std::move(buffer), std::move(spaces)));
}

}  // namespace stasis::capture
