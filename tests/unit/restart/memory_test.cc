// What the plan of an address space asks the kernel for; nothing is mapped here.
#include <doctest/doctest.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <cstring>

#include "restart/ids_patch.h"
#include "restart/memory_flags.h"
#include "restart/memory_plan.h"
#include "restart/pages.h"
#include "script_reader.h"

using namespace stasis;
using namespace stasis::restart;

namespace {

constexpr u32 kRead = PROT_READ;
constexpr u32 kReadWrite = PROT_READ | PROT_WRITE;

struct Example {
  model::Image image;
  model::Process& process() { return image.processes[0]; }

  Example() {
    image.processes.emplace_back();
    image.spaces.emplace_back();
    image.resources = {model::RegularFile{.path = "/lib/x.so"}, model::SharedMemory{.size = 8192}};
  }
  model::Vma& add(u64 start, u64 end, u32 protection) {
    model::Vma vma;
    vma.start = {start};
    vma.end = {end};
    vma.protection = protection;
    process().memory.vmas.push_back(vma);
    return process().memory.vmas.back();
  }
  void run(u64 start, u64 length, model::RunKind kind = model::RunKind::kData) {
    image.spaces[0].runs.push_back({start, length, kind});
  }
  MemoryPlan plan() {
    return {image,
            process(),
            [](const model::Vma&) -> Result<int> { return 77; },
            {{1, RemoteAddr{0x9000000}}}};
  }
};

}  // namespace

TEST_CASE("anonymous memory comes with its final protection and reservation") {
  Example example;
  example.add(0x10000, 0x20000, 0).flags = {"nr"};
  example.add(0x20000, 0x30000, kReadWrite).flags = {"gd"};
  const auto script = areas_script(example.plan());
  REQUIRE(script.ok());
  const auto maps = calls_of(*script, SYS_mmap);
  REQUIRE(maps.size() == 2);
  CHECK(number_at(maps[0], 2) == 0);
  CHECK((number_at(maps[0], 3) & MAP_NORESERVE) != 0);
  CHECK((number_at(maps[0], 3) & MAP_GROWSDOWN) == 0);
  CHECK(maps[0].expected == 0x10000);
  CHECK((number_at(maps[1], 3) & MAP_GROWSDOWN) != 0);
  CHECK((number_at(maps[1], 3) & MAP_NORESERVE) == 0);
}

TEST_CASE("what has contents but no write access is writable until they are there") {
  Example example;
  model::Vma& code = example.add(0x10000, 0x20000, kRead);
  code.kind = model::VmaKind::kFile;
  code.resource = 0;
  code.offset = 0x3000;
  example.add(0x20000, 0x30000, kRead);
  example.run(0x11000, 0x1000);
  example.run(0x20000, 0x1000, model::RunKind::kZero);
  const auto plan = example.plan();
  const auto script = areas_script(plan);
  REQUIRE(script.ok());
  const auto maps = calls_of(*script, SYS_mmap);
  REQUIRE(maps.size() == 2);
  CHECK(number_at(maps[0], 2) == kReadWrite);
  CHECK(number_at(maps[0], 4) == 77);
  CHECK(number_at(maps[0], 5) == 0x3000);
  CHECK(number_at(maps[1], 2) == kRead);  // zeros are there by themselves
  const auto protects = calls_of(settle_areas_script(plan), SYS_mprotect);
  REQUIRE(protects.size() == 1);
  CHECK(number_at(protects[0], 0) == 0x10000);
  CHECK(number_at(protects[0], 2) == kRead);
}

TEST_CASE("shared memory is a second mapping of its home") {
  Example example;
  model::Vma& piece = example.add(0x10000, 0x11000, kRead);
  piece.kind = model::VmaKind::kFile;
  piece.resource = 1;
  piece.shared = true;
  piece.offset = 0x1000;
  const auto script = areas_script(example.plan());
  REQUIRE(script.ok());
  const auto moves = calls_of(*script, SYS_mremap);
  REQUIRE(moves.size() == 1);
  CHECK(number_at(moves[0], 0) == 0x9001000);
  CHECK(number_at(moves[0], 1) == 0);
  CHECK(number_at(moves[0], 2) == 0x1000);
  CHECK(calls_of(*script, SYS_mprotect).size() == 1);
  CHECK(calls_of(shared_script(example.image, {{1, {0x9000000}}}), SYS_mmap).size() == 1);
}

TEST_CASE("advice, locks, guards, names and seals") {
  Example example;
  model::Vma& vma = example.add(0x10000, 0x20000, kReadWrite);
  vma.flags = {"dc", "dd", "lf", "lo", "nh", "sl", "wf"};
  vma.name = "[anon:arena]";
  example.run(0x12000, 0x1000, model::RunKind::kGuard);
  example.process().memory.lock_future = MCL_FUTURE;
  const auto before = areas_script(example.plan());
  REQUIRE(before.ok());
  CHECK(calls_of(*before, SYS_madvise).size() == 4);
  const auto after = settle_areas_script(example.plan());
  const auto guards = calls_of(after, SYS_madvise);
  REQUIRE(guards.size() == 1);
  CHECK(number_at(guards[0], 0) == 0x12000);
  CHECK(number_at(guards[0], 2) == kMadvGuardInstall);
  const auto locks = calls_of(after, SYS_mlock2);
  REQUIRE(locks.size() == 1);
  CHECK(number_at(locks[0], 2) == 1);
  CHECK(calls_of(after, SYS_mlockall).size() == 1);
  const auto names = calls_of(after, SYS_prctl);
  REQUIRE(names.size() == 1);
  const Bytes name = data_at(after, names[0], 4, 6);
  CHECK(std::memcmp(name.data(), "arena", 6) == 0);
  CHECK(after.operations().back().number == kSysMseal);
}

TEST_CASE("droppable memory is made as such, empty; where it is unknown, plain and told") {
  Example example;
  model::Vma& vma = example.add(0x10000, 0x20000, kReadWrite);
  vma.flags = {"dd", "dp", "nr", "wf"};
  example.run(0x11000, 0x1000);  // an image of a version that still saved its contents
  const auto known = areas_script(example.plan());
  REQUIRE(known.ok());
  CHECK((number_at(calls_of(*known, SYS_mmap).at(0), 3) & 0xf) == kMapDroppable);
  CHECK(pieces_of_memory(example.process().memory, example.image.spaces[0], 0x2000)->empty());
  CHECK(lost_marks(example.image, example.process(), true).empty());
  MemoryPlan plan = example.plan();
  plan.droppable_known = false;
  const auto unknown = areas_script(plan);
  REQUIRE(unknown.ok());
  CHECK((number_at(calls_of(*unknown, SYS_mmap).at(0), 3) & 0xf) == MAP_PRIVATE);
  CHECK(calls_of(*unknown, SYS_madvise).size() == 2);
  const auto notes = lost_marks(example.image, example.process(), false);
  REQUIRE(notes.size() == 1);
  CHECK(notes[0].find("MAP_DROPPABLE") != std::string::npos);
  example.process().memory.vmas[0].flags = {"zz"};
  CHECK(lost_marks(example.image, example.process(), true).size() == 1);
}

TEST_CASE("vdso areas go home by name, or together elsewhere") {
  const auto area = [](u64 start, u64 end, std::string path) {
    proc::Area result;
    result.start = {start};
    result.end = {end};
    result.path = std::move(path);
    return result;
  };
  const std::vector<proc::Area> now = {area(0x1000, 0x5000, "[vvar]"),
                                       area(0x5000, 0x7000, "[vdso]")};
  Example example;
  example.add(0x700000, 0x702000, kRead).name = "[vdso]";
  example.add(0x800000, 0x804000, kRead).name = "[vvar]";
  const auto home = vdso_script(now, example.process().memory, std::nullopt);
  REQUIRE(home.ok());
  REQUIRE(home->size() == 2);
  CHECK(number_at(home->operations()[0], 4) == 0x800000);
  CHECK(number_at(home->operations()[1], 4) == 0x700000);
  const auto away = vdso_script(now, example.process().memory, RemoteAddr{0x900000});
  REQUIRE(away.ok());
  CHECK(number_at(away->operations()[1], 4) == 0x904000);
  example.process().memory.vmas[1].end = {0x805000};
  CHECK(!vdso_script(now, example.process().memory, std::nullopt).ok());
}

TEST_CASE("marks are a prctl_mm_map with its auxv behind it") {
  model::Memory memory;
  memory.marks.start_code = {0x1234};
  memory.auxv = Bytes(320, std::byte{9});
  const Bytes block = marks_block(memory, {0x5000});
  prctl_mm_map map = {};
  REQUIRE(block.size() == sizeof map + 320);
  std::memcpy(&map, block.data(), sizeof map);
  CHECK(map.start_code == 0x1234);
  CHECK(map.auxv == reinterpret_cast<__u64*>(0x5000 + sizeof map));
  CHECK(map.auxv_size == 320);
  CHECK(map.exe_fd == ~0U);
}

TEST_CASE("pieces are clipped to areas and split") {
  Example example;
  example.add(0x10000, 0x12000, kReadWrite);
  model::Vma& file = example.add(0x12000, 0x20000, kReadWrite);
  file.kind = model::VmaKind::kFile;
  file.resource = 0;
  example.run(0x11000, 0x4000);
  example.run(0x16000, 0x1000, model::RunKind::kZero);
  const auto pieces = pieces_of_memory(example.process().memory, example.image.spaces[0], 0x2000);
  REQUIRE(pieces.ok());
  CHECK(*pieces == std::vector<Piece>{{0x11000, 0x1000, {0x11000}, false},
                                      {0x12000, 0x2000, {0x12000}, false},
                                      {0x14000, 0x1000, {0x14000}, false},
                                      {0x16000, 0x1000, {0x16000}, true}});
}

TEST_CASE("zeros of anonymous memory are not written") {
  Example example;
  example.add(0x10000, 0x20000, kReadWrite);
  example.run(0x10000, 0x10000, model::RunKind::kZero);
  CHECK(pieces_of_memory(example.process().memory, example.image.spaces[0], 0x2000)->empty());
}

TEST_CASE("contents without an area are refused") {
  Example example;
  example.add(0x10000, 0x20000, kReadWrite);
  example.run(0x1f000, 0x2000);
  CHECK(!pieces_of_memory(example.process().memory, example.image.spaces[0], 0x2000).ok());
}

TEST_CASE("a cached id is replaced only where it is the old one") {
  CachedId found{.tid_address = {0x1000},
                 .at_tid_address = 42,
                 .thread_pointer = {0x2000},
                 .at_thread_pointer = 0x2000,
                 .at_musl_tid = 7};
  CHECK(find_cached_id(found, 42) == RemoteAddr{0x1000});
  CHECK(find_cached_id(found, 7) == RemoteAddr{0x2000 + kMuslTidOffset});
  CHECK(!find_cached_id(found, 8));
  found.at_thread_pointer = 0;
  CHECK(!find_cached_id(found, 7));
}
