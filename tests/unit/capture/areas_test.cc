// capture/areas: what areas become, which are refused, and which pages of our own process an image
// would hold.
#include "capture/areas.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <unistd.h>

#include <algorithm>

#include "base/sys.h"
#include "model/vm_flags.h"

using namespace stasis;
using model::VmaKind;

namespace {

std::vector<proc::Area> areas_of(std::string_view smaps) {
  auto areas = proc::parse_smaps(smaps);
  REQUIRE(areas.ok());
  return std::move(*areas);
}

// The areas of ours that begin inside [start, start + length).
std::vector<proc::Area> own_areas(const void* start, u64 length) {
  std::vector<proc::Area> areas;
  const RemoteAddr from{reinterpret_cast<u64>(start)};
  const auto all = proc::read_smaps(::getpid());
  for (const proc::Area& area : *all) {
    if (area.start >= from && area.start < from + length) areas.push_back(area);
  }
  return areas;
}

std::vector<model::Run> own_runs(const void* start, u64 length) {
  auto runs = capture::memory_runs(::getpid(), own_areas(start, length));
  REQUIRE(runs.ok());
  for (model::Run& run : *runs) run.offset -= reinterpret_cast<u64>(start);
  return std::move(*runs);
}

constexpr std::string_view kOrdinary =
    "55d0c8a00000-55d0c8a01000 r-xp 00001000 fe:00 11 /usr/bin/x\nVmFlags: rd ex mr mw me sd \n"
    "55f5a4e5c000-55f5a4e7d000 rw-p 00000000 00:00 0 [heap]\nVmFlags: rd wr mr mw me ac sd \n"
    "7f0000000000-7f0000001000 rw-s 00000000 00:01 21 /dev/zero (deleted)\nVmFlags: rd wr sh \n"
    "7f0000002000-7f0000003000 rw-p 00000000 00:05 4 /dev/zero\nVmFlags: rd wr \n"
    "7f0000004000-7f0000005000 rw-s 00002000 00:01 22 /memfd:q (deleted)\nVmFlags: rd wr sh \n"
    "7f0000006000-7f0000007000 rw-s 00000000 00:01 23 [anon_shmem:ring]\nVmFlags: rd wr sh \n"
    "7f0000008000-7f0000009000 rw-p 00000000 00:00 0 [anon:arena]\nVmFlags: rd wr \n"
    "7f000000a000-7f000000b000 ---p 00000000 00:00 0 \nVmFlags: mr mw me \n"
    "7ffd1e9d5000-7ffd1e9f6000 rw-p 00000000 00:00 0 [stack]\nVmFlags: rd wr mr mw me gd ac \n"
    "7ffd1e9fa000-7ffd1e9fe000 r--p 00000000 00:00 0 [vvar]\nVmFlags: rd mr pf io de dd \n"
    "7ffd1e9fe000-7ffd1ea00000 r--p 00000000 00:00 0 [vvar_vclock]\nVmFlags: rd mr pf io de dd \n"
    "7ffd1ea00000-7ffd1ea02000 r-xp 00000000 00:00 0 [vdso]\nVmFlags: rd ex mr mw me de \n"
    "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall]\nVmFlags: ex \n";

}  // namespace

TEST_CASE("every ordinary area becomes its kind; files ask for their resource") {
  const auto areas = areas_of(kOrdinary);
  CHECK(capture::area_refusals(1, areas).empty());
  std::vector<std::string> asked;
  const auto vmas = capture::to_vmas(areas, [&](const proc::Area& area) {
    asked.push_back(area.path);
    return Result<model::ResourceIndex>(static_cast<model::ResourceIndex>(asked.size() + 6));
  });
  REQUIRE(vmas.ok());
  REQUIRE(vmas->size() == areas.size());
  CHECK(asked ==
        std::vector<std::string>{"/usr/bin/x", "/dev/zero", "/memfd:q", "[anon_shmem:ring]"});
  const std::vector<VmaKind> kinds = {
      VmaKind::kFile, VmaKind::kAnonymous, VmaKind::kFile,      VmaKind::kAnonymous, VmaKind::kFile,
      VmaKind::kFile, VmaKind::kAnonymous, VmaKind::kAnonymous, VmaKind::kStack,     VmaKind::kVvar,
      VmaKind::kVvar, VmaKind::kVdso,      VmaKind::kVsyscall};
  for (size_t i = 0; i < kinds.size(); ++i) {
    CAPTURE(areas[i].path);
    CHECK(vmas->at(i).kind == kinds[i]);
    CHECK(vmas->at(i).resource.has_value() == (kinds[i] == VmaKind::kFile));
  }
  CHECK(vmas->at(0).resource == 7U);
  CHECK(vmas->at(0).offset == 0x1000);
  CHECK(vmas->at(0).name.empty());
  CHECK(vmas->at(0).flags == std::vector<std::string>{"ex", "me", "mr", "mw", "rd"});  // no "sd"
  CHECK(vmas->at(1).name == "[heap]");
  CHECK(vmas->at(3).name.empty());
  CHECK(vmas->at(4).shared);
  CHECK(vmas->at(6).name == "[anon:arena]");
  CHECK(vmas->at(7).protection == 0);
}

TEST_CASE("an error of the resource ends the conversion") {
  const auto vmas = capture::to_vmas(areas_of(kOrdinary), [](const proc::Area&) {
    return Result<model::ResourceIndex>(fail(1, "no"));
  });
  CHECK(!vmas.ok());
}

TEST_CASE("what cannot be saved is named, with the place and the reason") {
  const std::pair<std::string_view, std::string_view> cases[] = {
      {"rw-s 00000000 00:01 3 /SYSV00000000 (deleted)\nVmFlags: rd wr sh ", "System V"},
      {"rw-s 00000000 00:13 3 /[aio] (deleted)\nVmFlags: rd wr sh ", "asynchronous I/O"},
      {"rw-s 00000000 00:0f 3 anon_inode:[io_uring]\nVmFlags: rd wr sh ", "io_uring"},
      {"rw-s 00000000 00:0f 3 anon_inode:kvm-vcpu:0\nVmFlags: rd wr sh ", "kernel object"},
      {"rw-s 00000000 00:08 3 socket:[77]\nVmFlags: rd wr sh ", "sockets"},
      {"rw-s 00000000 00:10 3 /secretmem (deleted)\nVmFlags: rd wr sh ", "memfd_secret"},
      {"rw-p 00000000 00:0f 3 /anon_hugepage (deleted)\nVmFlags: rd wr ht ", "hugetlbfs"},
      {"rw-s 00000000 00:06 3 /dev/null\nVmFlags: rd wr sh ", "device"},
      {"rw-s 00000000 00:06 3 /sys/bus/x/resource0\nVmFlags: io pf rd wr ", "device"},
      {"rw-p 00000000 00:00 0 \nVmFlags: rd wr um ", "userfaultfd"},
      {"rw-p 00000000 00:00 0 \nVmFlags: rd wr uw ", "userfaultfd"},
      {"rw-p 00000000 00:00 0 \nVmFlags: rd wr ss ", "shadow stack"},
      {"rw-p 00000000 00:00 0 \nVmFlags: rd wr mt ", "memory tags"},
      {"rw-s 00000000 fe:00 9 /x\nVmFlags: rd wr sf ", "MAP_SYNC"},
      {"rw-p 00000000 00:00 0 \nProtectionKey: 3\nVmFlags: rd wr ", "protection key"},
      {"--xp 00000000 00:00 0 [uprobes]\nVmFlags: ex ", "uprobes"},
      {"rw-p 00000000 00:00 0 [something]\nVmFlags: rd ", "not known"},
  };
  for (const auto& [line, reason] : cases) {
    CAPTURE(line);
    const auto refusals = capture::area_refusals(
        4711, areas_of("7f0000000000-7f0000001000 " + std::string(line) + "\n"));
    REQUIRE(refusals.size() == 1);
    CHECK(
        refusals[0].subject.starts_with("memory at 0x7f0000000000-0x7f0000001000 of process 4711"));
    CHECK(refusals[0].reason.find(reason) != std::string::npos);
  }
}

TEST_CASE("our own areas are all known; a System V segment is refused as the kernel shows it") {
  CHECK(capture::area_refusals(::getpid(), *proc::read_smaps(::getpid())).empty());
  const int id = ::shmget(IPC_PRIVATE, kPageSize, 0600);
  if (id < 0) return;  // a kernel without System V IPC
  const void* memory = ::shmat(id, nullptr, 0);
  (void)::shmctl(id, IPC_RMID, nullptr);
  const auto refusals = capture::area_refusals(::getpid(), own_areas(memory, kPageSize));
  (void)::shmdt(memory);
  REQUIRE(refusals.size() == 1);
  CHECK(refusals[0].subject.find("(/SYSV") != std::string::npos);
}

TEST_CASE("runs of private memory: written pages") {
  auto file = sys::open("/proc/self/exe", O_RDONLY);
  const u64 length = 8 * kPageSize;
  auto* mapped = static_cast<char*>(
      ::mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_PRIVATE, file->get(), 0));
  mapped[2 * kPageSize] = 1;
  mapped[3 * kPageSize] = 1;
  using Runs = std::vector<model::Run>;
  const Runs changed = {{.offset = 2 * kPageSize, .length = 2 * kPageSize}};
  CHECK(own_runs(mapped, length) == changed);
  (void)::munmap(mapped, length);
}

TEST_CASE("shared memory has no runs of its own; its touched pages are runs of the object") {
  const u64 length = 6 * kPageSize;
  auto* memory = static_cast<char*>(
      ::mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  memory[kPageSize] = 1;
  memory[4 * kPageSize] = 1;
  CHECK(own_runs(memory, length).empty());
  const auto runs = capture::shared_runs(::getpid(), own_areas(memory, length));
  REQUIRE(runs.ok());
  CHECK(*runs == std::vector<model::Run>{{.offset = kPageSize, .length = kPageSize},
                                         {.offset = 4 * kPageSize, .length = kPageSize}});
  (void)::munmap(memory, length);
}

TEST_CASE("every mark of Linux 6.18 has a rule; one that is not known is told, not dropped") {
  // Documentation/filesystems/proc.rst and show_smap_vma_flags() of fs/proc/task_mmu.c.
  const std::string_view known[] = {"rd", "wr", "ex", "sh", "mr", "mw", "me", "ms", "gd", "pf",
                                    "lo", "io", "sr", "rr", "dc", "de", "lf", "ac", "nr", "ht",
                                    "sf", "ar", "wf", "dd", "sd", "mm", "hg", "nh", "mg", "um",
                                    "uw", "ui", "ss", "sl", "dp", "mt", "bt", "gu"};
  for (const std::string_view letters : known) {
    CAPTURE(letters);
    CHECK(model::find_vm_flag(letters) != nullptr);
  }
  const auto areas = areas_of(
      "7f0000000000-7f0000001000 rw-p 00000000 00:00 0 \nVmFlags: rd wr zz dp \n"
      "7f0000001000-7f0000002000 rw-p 00000000 00:00 0 \nVmFlags: rd wr zz \n"
      "7f0000003000-7f0000004000 r-xp 00000000 00:00 0 [vdso]\nVmFlags: rd ex yy \n");
  CHECK(capture::area_refusals(7, areas).empty());
  const auto notes = capture::area_notes(7, areas);
  REQUIRE(notes.size() == 1);
  CHECK(notes[0].find("\"zz\"") != std::string::npos);
  CHECK(notes[0].find("process 7") != std::string::npos);
  // The running kernel shows none that this version does not know.
  const auto own = proc::read_smaps(::getpid());
  CHECK(capture::area_notes(1, *own).empty());
}

TEST_CASE("memory that can only be executed has a key of the kernel's own, which is no obstacle") {
  const auto areas = areas_of(
      "7f0000000000-7f0000001000 --xp 00000000 00:00 0 \nProtectionKey: 1\nVmFlags: ex \n");
  CHECK(capture::area_refusals(1, areas).empty());
}
