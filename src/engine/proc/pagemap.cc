// Which pages of an area hold something: the PAGEMAP_SCAN ioctl of Linux 6.7, and where it is
// missing the 64-bit entries of /proc/PID/pagemap (Documentation/admin-guide/mm/pagemap.rst). Both
// give the same ranges, but only the scan can tell zero pages: an entry shows "present, not
// exclusive, not file" for the zero page and for a page shared with a fork child alike.
// Essay: docs/design/stock-kernels.md.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/ioctl.h>

#include <cerrno>

#include "base/sys.h"
#include "proc/maps.h"

namespace stasis::proc {
namespace {

// <linux/fs.h> of Linux 6.7; distributions' headers may be older than their kernel.
struct ScanRegion {
  u64 start, end, categories;
};
struct ScanArguments {
  u64 size, flags, start, end, walk_end, vec, vec_length, max_pages;
  u64 category_inverted, category_mask, category_any_of, return_mask;
};
constexpr unsigned long kPagemapScan = _IOWR('f', 16, ScanArguments);
constexpr u64 kIsFile = 1 << 2;
constexpr u64 kIsPresent = 1 << 3;
constexpr u64 kIsSwapped = 1 << 4;
constexpr u64 kIsZeroPage = 1 << 5;
constexpr u64 kIsGuard = 1 << 8;  // Linux 6.15

// Bits of a pagemap entry.
constexpr u64 kEntryGuard = u64{1} << 58;  // Linux 6.15; comes together with "swapped"
constexpr u64 kEntryFile = u64{1} << 61;
constexpr u64 kEntrySwapped = u64{1} << 62;
constexpr u64 kEntryPresent = u64{1} << 63;

void append(std::vector<PageRange>& ranges, const PageRange& next) {
  if (!ranges.empty()) {
    PageRange& last = ranges.back();
    if (last.start + last.length == next.start && last.zero == next.zero &&
        last.guard == next.guard) {
      last.length += next.length;
      return;
    }
  }
  ranges.push_back(next);
}

// Whether smaps already says that no page can be there. Only for the slow way: an area known from
// maps alone has no flags and is always read.
bool known_empty(const Area& area, bool want_private) {
  if (area.flags.empty() || area.has_flag("gu")) return false;
  if (want_private && !area.path.empty() && area.path.front() == '/') return !area.has_anonymous;
  return area.rss_kb == 0 && area.swap_kb == 0;
}

}  // namespace

Result<Pagemap> Pagemap::open(Pid pid) {
  Pagemap pagemap;
  pagemap.fd_ = TRY(sys::open(fmt::format("/proc/{}/pagemap", pid), O_RDONLY));
  return pagemap;
}

Result<std::vector<PageRange>> Pagemap::private_pages(const Area& area) {
  return pages(area, Wanted::kPrivate);
}

Result<std::vector<PageRange>> Pagemap::present_pages(const Area& area) {
  return pages(area, Wanted::kPresent);
}

Result<std::vector<PageRange>> Pagemap::pages(const Area& area, Wanted wanted) {
  // [vsyscall] lies above user space: it has no page table of the process.
  if (area.start.value >> 63 != 0) return std::vector<PageRange>{};
  if (scan_) {
    auto ranges = scan(area, wanted);
    if (ranges || ranges.error().code != ENOTTY) return ranges;
    scan_ = false;
  }
  if (known_empty(area, wanted == Wanted::kPrivate)) return std::vector<PageRange>{};
  return read_entries(area, wanted);
}

Result<std::vector<PageRange>> Pagemap::scan(const Area& area, Wanted wanted) {
  std::vector<PageRange> ranges;
  std::vector<ScanRegion> regions(512);
  u64 start = area.start.value;
  while (start < area.end.value) {
    ScanArguments arguments = {};
    arguments.size = sizeof arguments;
    arguments.start = start;
    arguments.end = area.end.value;
    arguments.vec = reinterpret_cast<u64>(regions.data());
    arguments.vec_length = regions.size();
    arguments.category_any_of = kIsPresent | kIsSwapped;
    if (wanted == Wanted::kPrivate) arguments.category_inverted = kIsFile;
    arguments.category_mask = arguments.category_inverted;
    arguments.return_mask = kIsZeroPage | (guard_seen_ ? kIsGuard : 0);
    const auto count = sys::check(::ioctl(fd_.get(), kPagemapScan, &arguments), "scan", "pagemap");
    if (!count && count.error().code == EINVAL && guard_seen_) {
      guard_seen_ = false;  // Linux 6.7 to 6.14 refuse an unknown category
      continue;
    }
    if (!count) return count.error();
    const auto found = static_cast<size_t>(*count);
    for (size_t i = 0; i < found; ++i) {
      append(ranges, {.start = {regions[i].start},
                      .length = regions[i].end - regions[i].start,
                      .zero = (regions[i].categories & kIsZeroPage) != 0,
                      .guard = (regions[i].categories & kIsGuard) != 0});
    }
    // Not from walk_end: after a scan that found many regions it may be stale and lead to
    // duplicates. A vector that was not filled says that the walk is complete.
    if (found < regions.size()) break;
    start = regions[found - 1].end;
  }
  return ranges;
}

Result<std::vector<PageRange>> Pagemap::read_entries(const Area& area, Wanted wanted) const {
  std::vector<PageRange> ranges;
  std::vector<u64> entries(std::min<u64>(65536, area.length() / kPageSize));
  u64 address = area.start.value;
  while (address < area.end.value) {
    const u64 count = std::min<u64>(entries.size(), (area.end.value - address) / kPageSize);
    const ByteSpan block = std::as_writable_bytes(std::span(entries.data(), count));
    const size_t got = TRY(sys::pread_full(fd_.get(), block, address / kPageSize * sizeof(u64)));
    if (got != block.size()) return sys::error_of(ESRCH, "read", "pagemap");
    for (u64 i = 0; i < count; ++i, address += kPageSize) {
      const u64 entry = entries[i];
      if ((entry & (kEntryPresent | kEntrySwapped)) == 0) continue;
      if (wanted == Wanted::kPrivate && (entry & kEntryFile) != 0) continue;
      append(ranges, {.start = {address},
                      .length = kPageSize,
                      .zero = false,
                      .guard = (entry & kEntryGuard) != 0 && (entry & kEntryPresent) == 0});
    }
  }
  return ranges;
}

}  // namespace stasis::proc
