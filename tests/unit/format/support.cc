// Patterns and files in memory for the tests of context files.
#include "support.h"

#include <sys/mman.h>
#include <sys/utsname.h>

#include <cstring>

#include "base/sys.h"
#include "model/random.h"

namespace stasis::format {
namespace {

u64 mix(u64 value) {
  value = (value ^ (value >> 31)) * 0x7fb5d329728ea185U;
  return value ^ (value >> 27);
}

}  // namespace

bool PatternPages::is_zero(model::SpaceIndex space, u64 offset) const {
  return zero_one_in_ != 0 && mix(seed_ + space * 977 + offset) % zero_one_in_ == 0;
}

Result<void> PatternPages::read(model::SpaceIndex space, std::span<const model::Run> runs,
                                ByteSpan out) {
  for (const model::Run& run : runs) {
    for (u64 at = run.offset; at < run.offset + run.length; at += kPageSize) {
      const ByteSpan page = out.first(kPageSize);
      out = out.subspan(kPageSize);
      std::memset(page.data(), 0, page.size());
      if (is_zero(space, at)) continue;
      u64 state = mix(seed_ * 31 + space * 1009 + at + 1);
      for (size_t i = 0; i < kPageSize; i += 16) {
        state = mix(state + i);
        std::memcpy(page.data() + i, &state, sizeof(state));
      }
    }
  }
  return {};
}

std::string machine() {
  utsname name{};
  ::uname(&name);
  return name.machine;
}

model::Image image_for_here(u64 seed) {
  model::Image image = model::random_image(seed);
  image.origin.architecture = machine();
  return image;
}

model::Image one_area(u64 pages) {
  model::Image image;
  image.origin.architecture = machine();
  image.origin.page_size = kPageSize;
  const RemoteAddr start{0x400000};
  const RemoteAddr end = start + pages * kPageSize;
  image.spaces.push_back({"memory", 0, {{start.value, end - start, model::RunKind::kData}}});
  model::Process& process = image.processes.emplace_back();
  process.pid = 7;
  process.threads.emplace_back().tid = 7;
  process.memory.vmas.push_back({.start = start, .end = end, .protection = 3});
  return image;
}

UniqueFd memory_file() {
  return UniqueFd(::memfd_create("test", MFD_CLOEXEC));
}

UniqueFd file_of(ByteView bytes) {
  UniqueFd fd = memory_file();
  (void)sys::pwrite_all(fd.get(), bytes, 0);
  return fd;
}

Bytes bytes_of(int fd) {
  Bytes bytes(static_cast<size_t>(::lseek(fd, 0, SEEK_END)));
  (void)sys::pread_full(fd, bytes, 0);
  (void)::lseek(fd, 0, SEEK_SET);
  return bytes;
}

Bytes written(model::Image& image, model::PageSource& pages, const WriteOptions& options) {
  const UniqueFd fd = memory_file();
  auto report = write_image(fd.get(), image, pages, options);
  return report ? bytes_of(fd.get()) : Bytes();
}

Result<OpenedImage> opened(ByteView bytes) {
  return open_image(file_of(bytes));
}

bool same_contents(const model::Image& before, model::PageSource& a, model::PageSource& b) {
  Bytes mine, other;
  for (size_t space = 0; space < before.spaces.size(); ++space) {
    for (const model::Run& run : before.spaces[space].runs) {
      if (run.kind != model::RunKind::kData) continue;
      mine.assign(run.length, std::byte{1});
      other.assign(run.length, std::byte{2});
      const auto index = static_cast<model::SpaceIndex>(space);
      if (!a.read(index, std::span(&run, 1), mine)) return false;
      if (!b.read(index, std::span(&run, 1), other)) return false;
      if (mine != other) return false;
    }
  }
  return true;
}

}  // namespace stasis::format
