// proc/maps: lines of maps and smaps as kernels write them, and the pages of areas of our own,
// found both by PAGEMAP_SCAN and by reading pagemap.
#include "proc/maps.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>

#include "base/sys.h"

using namespace stasis;

namespace {

#ifndef MADV_GUARD_INSTALL
constexpr int MADV_GUARD_INSTALL = 102;
#endif

constexpr const char* kSmaps =
    "55f5a4e5c000-55f5a4e7d000 rw-p 00000000 00:00 0                          [heap]\n"
    "Size:                132 kB\nKernelPageSize:        4 kB\nMMUPageSize:           4 kB\n"
    "Rss:                  12 kB\nPss:                  12 kB\nAnonymous:            12 kB\n"
    "LazyFree:              0 kB\nSwap:                  8 kB\nTHPeligible:    0\n"
    "VmFlags: rd wr mr mw me ac sd \n"
    "7f3e00000000-7f3e00200000 rw-s 00001000 00:0f 77          /dev/hugepages/x y (deleted)\n"
    "Size:               2048 kB\nRss:                   0 kB\nAnonymous:             0 kB\n"
    "Shared_Hugetlb:     2048 kB\nPrivate_Hugetlb:       0 kB\nSwap:                  0 kB\n"
    "VmFlags: rd wr sh mr mw me ms de ht \n"
    "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]\n"
    "Size:                  4 kB\nRss:                   0 kB\nVmFlags: ex \n";

// Memory of ours between two unmapped pages, so that it is an area of its own.
struct Region {
  Region(u64 pages, int flags, int fd = -1)
      : length((pages + 2) * kPageSize),
        start(::mmap(nullptr, length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) {
    memory = static_cast<char*>(::mmap(static_cast<char*>(start) + kPageSize, pages * kPageSize,
                                       PROT_READ | PROT_WRITE, flags | MAP_FIXED, fd, 0));
    (void)::madvise(memory, pages * kPageSize, MADV_NOHUGEPAGE);
  }
  ~Region() { (void)::munmap(start, length); }
  Region(const Region&) = delete;
  Region& operator=(const Region&) = delete;

  void write(u64 page) const { memory[page * kPageSize] = 'x'; }
  void read(u64 page) const { (void)*static_cast<volatile char*>(memory + page * kPageSize); }
  [[nodiscard]] u64 number(RemoteAddr address) const {
    return (address.value - reinterpret_cast<u64>(memory)) / kPageSize;
  }
  [[nodiscard]] proc::Area area(bool with_details) const {
    const auto areas = with_details ? proc::read_smaps(::getpid()) : proc::read_maps(::getpid());
    for (const proc::Area& each : *areas) {
      if (each.start.value == reinterpret_cast<u64>(memory)) return each;
    }
    FAIL("our region is not in maps");
    return {};
  }

  u64 length;
  void* start;
  char* memory;
};

struct Pages {  // page numbers in a region
  std::vector<u64> data, zero, guard;
};

Pages pages_of(const Region& region, bool use_scan, bool details, bool present = false) {
  auto pagemap = proc::Pagemap::open(::getpid());
  REQUIRE(pagemap.ok());
  if (!use_scan) pagemap->forbid_scan();
  const proc::Area area = region.area(details);
  const auto ranges = present ? pagemap->present_pages(area) : pagemap->private_pages(area);
  REQUIRE(ranges.ok());
  Pages pages;
  for (const proc::PageRange& range : *ranges) {
    auto& list = range.guard ? pages.guard : range.zero ? pages.zero : pages.data;
    for (u64 i = 0; i < range.length / kPageSize; ++i) {
      list.push_back(region.number(range.start) + i);
    }
  }
  return pages;
}

bool scan_works() {
  const Region region(1, MAP_PRIVATE | MAP_ANONYMOUS);
  region.read(0);
  return !pages_of(region, true, false).zero.empty();  // only the scan knows zero pages
}

using Numbers = std::vector<u64>;

}  // namespace

TEST_CASE("maps: every shape of line") {
  const auto areas = proc::parse_maps(
      "00400000-00452000 r-xp 00001000 08:02 173521      /usr/bin/dbus daemon\n"
      "7f0000000000-7f0000001000 rw-s 00000000 00:01 2051                       "
      "/memfd:queue (deleted)\n"
      "7f0000002000-7f0000003000 rw-s 00000000 00:01 2052 /dev/zero (deleted)\n"
      "7f0000004000-7f0000005000 ---p 00000000 00:00 0 \n"
      "7f0000006000-7f0000007000 rw-p 00000000 00:00 0                          [anon: (deleted)]\n"
      "7f0000008000-7f0000009000 r--p 00000000 fd:10 12345678901 /tmp/new\\012line (deleted)\n"
      "7ffd1e9d5000-7ffd1e9f6000 rw-p 00000000 00:00 0                          [stack]\n");
  REQUIRE(areas.ok());
  REQUIRE(areas->size() == 7);
  const proc::Area& file = areas->at(0);
  CHECK(file.start.value == 0x400000);
  CHECK(file.length() == 0x52000);
  CHECK(file.protection == (PROT_READ | PROT_EXEC));
  CHECK(!file.shared);
  CHECK(file.offset == 0x1000);
  CHECK(file.device_major == 8);
  CHECK(file.device_minor == 2);
  CHECK(file.inode == 173521);
  CHECK(file.path == "/usr/bin/dbus daemon");
  CHECK(areas->at(1).shared);
  CHECK(areas->at(1).path == "/memfd:queue");
  CHECK(areas->at(1).deleted);
  CHECK(areas->at(2).path == "/dev/zero");
  CHECK(areas->at(3).path.empty());
  CHECK(areas->at(3).protection == 0);
  CHECK(areas->at(4).path == "[anon: (deleted)]");
  CHECK(!areas->at(4).deleted);
  CHECK(areas->at(5).path == "/tmp/new\nline");
  CHECK(areas->at(5).device_minor == 0x10);
  CHECK(areas->at(6).path == "[stack]");
}

TEST_CASE("maps: what is no line is an error that quotes it") {
  for (const char* line : {"x", "1000-2000", "2000-1000 rw-p 0 00:00 0", "1-2 rw-p 0 0 0 0",
                           "00400000-00452000 r-xp 00001000 08:02 -1 /x",
                           "00400000-10000000000452000 r-xp 00001000 08:02 1 /x"}) {
    CAPTURE(line);
    const auto areas = proc::parse_maps(line);
    REQUIRE(!areas);
    CHECK(areas.error().message().find(line) != std::string::npos);
  }
}

TEST_CASE("smaps: flags are sorted, huge pages count, older kernels lack lines") {
  const auto areas = proc::parse_smaps(kSmaps);
  REQUIRE(areas.ok());
  REQUIRE(areas->size() == 3);
  CHECK(areas->at(0).path == "[heap]");
  CHECK(areas->at(0).rss_kb == 12);
  CHECK(areas->at(0).swap_kb == 8);
  CHECK(areas->at(0).has_anonymous);
  CHECK(areas->at(0).flags == std::vector<std::string>{"ac", "me", "mr", "mw", "rd", "sd", "wr"});
  CHECK(areas->at(1).path == "/dev/hugepages/x y");
  CHECK(areas->at(1).deleted);
  CHECK(areas->at(1).rss_kb == 2048);
  CHECK(areas->at(1).has_anonymous);
  CHECK(areas->at(1).has_flag("ht"));
  CHECK(!areas->at(1).has_flag("dc"));
  CHECK(areas->at(2).flags == std::vector<std::string>{"ex"});
  CHECK(!proc::parse_smaps("Size: 4 kB\n").ok());
}

TEST_CASE("smaps: older kernels have no letters for an area that is locked when it is touched") {
  const auto areas = proc::parse_smaps(
      "7f0000000000-7f0000001000 rw-p 00000000 00:00 0 \nVmFlags: rd wr lo ?? ac \n"
      "7f0000002000-7f0000003000 rw-p 00000000 00:00 0 \nVmFlags: rd ?? wr \n");
  REQUIRE(areas.ok());
  CHECK(areas->at(0).flags == std::vector<std::string>{"ac", "lf", "lo", "rd", "wr"});
  CHECK(areas->at(1).flags == std::vector<std::string>{"rd", "wr"});
}

TEST_CASE("our own maps: smaps agrees") {
  const auto areas = proc::read_maps(::getpid());
  REQUIRE(areas.ok());
  CHECK(std::any_of(areas->begin(), areas->end(),
                    [](const proc::Area& area) { return area.path == "[stack]"; }));
  const auto details = proc::read_smaps(::getpid());
  REQUIRE(details.ok());
  CHECK(std::all_of(details->begin(), details->end(),
                    [](const proc::Area& area) { return !area.flags.empty(); }));
}

TEST_CASE("pages of anonymous memory: written ones and, with the scan, zero pages apart") {
  const Region region(300, MAP_PRIVATE | MAP_ANONYMOUS);
  for (const u64 page : {3U, 4U, 5U, 100U, 299U}) region.write(page);
  region.read(7);
  for (const bool details : {false, true}) {
    const Pages read = pages_of(region, false, details);
    CHECK(read.data == Numbers{3, 4, 5, 7, 100, 299});  // a zero page looks like any other
    CHECK(read.zero.empty());
    if (!scan_works()) continue;
    const Pages scanned = pages_of(region, true, details);
    CHECK(scanned.data == Numbers{3, 4, 5, 100, 299});
    CHECK(scanned.zero == Numbers{7});
  }
}

TEST_CASE("pages of a private file mapping: only our copies") {
  auto file = sys::open("/proc/self/exe", O_RDONLY);
  REQUIRE(file.ok());
  const Region region(20, MAP_PRIVATE, file->get());
  region.write(2);
  region.read(3);
  for (const bool scan : {false, true}) {
    for (const bool details : {false, true}) {
      CHECK(pages_of(region, scan, details).data == Numbers{2});
    }
  }
}

TEST_CASE("pages of shared memory: what this process has touched") {
  const Region region(10, MAP_SHARED | MAP_ANONYMOUS);
  region.write(1);
  region.write(8);
  for (const bool scan : {false, true}) {
    CHECK(pages_of(region, scan, true, true).data == Numbers{1, 8});
    CHECK(pages_of(region, scan, true).data.empty());  // nothing of it is private
  }
}

TEST_CASE("more stretches than one answer of the kernel holds come without duplicates") {
  const u64 count = 5000;
  const Region region(count * 2, MAP_PRIVATE | MAP_ANONYMOUS);
  Numbers expected;
  for (u64 page = 0; page < count * 2; page += 2) {
    region.write(page);
    expected.push_back(page);
  }
  CHECK(pages_of(region, true, false).data == expected);
  CHECK(pages_of(region, false, false).data == expected);
}

TEST_CASE("guard pages are neither data nor absent") {
  const Region region(10, MAP_PRIVATE | MAP_ANONYMOUS);
  region.write(1);
  region.write(5);
  if (::madvise(region.memory + 4 * kPageSize, 2 * kPageSize, MADV_GUARD_INSTALL) != 0) {
    MESSAGE("skipped: this kernel has no MADV_GUARD_INSTALL");
    return;
  }
  const Pages read = pages_of(region, false, true);
  if (read.guard.empty()) {
    MESSAGE("skipped: this kernel does not show guard pages (6.13, 6.14)");
    return;
  }
  for (const Pages& pages : {read, pages_of(region, true, true)}) {
    CHECK(pages.data == Numbers{1});
    CHECK(pages.guard == Numbers{4, 5});
  }
}

TEST_CASE("[vsyscall] lies outside of every page table") {
  auto pagemap = proc::Pagemap::open(::getpid());
  REQUIRE(pagemap.ok());
  const proc::Area area{.start = {0xffffffffff600000}, .end = {0xffffffffff601000}};
  CHECK(pagemap->private_pages(area)->empty());
}
