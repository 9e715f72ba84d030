// Free address space: holes overlap nothing, and everybody finds the same ones.
#include "restart/layout.h"

#include <doctest/doctest.h>

#include "restart/passes.h"

using namespace stasis;
using namespace stasis::restart;

namespace {

model::Vma area(u64 start, u64 end) {
  model::Vma vma;
  vma.start = {start};
  vma.end = {end};
  return vma;
}

model::Image image_with(std::vector<model::Vma> vmas) {
  model::Image image;
  image.processes.emplace_back().memory.vmas = std::move(vmas);
  return image;
}

}  // namespace

TEST_CASE("a hole overlaps nothing of any process") {
  model::Image image = image_with({area(0x400000, 0x500000), area(0x100000000000, 0x100001000000)});
  image.processes.emplace_back().memory.vmas = {area(0x100005000000, 0x100006000000)};
  const Layout layout(image);
  for (const u64 length : {u64{0x1000}, u64{1} << 24, u64{1} << 40}) {
    const auto hole = layout.hole(length);
    REQUIRE(hole);
    CHECK(hole->value % kPageSize == 0);
    CHECK(layout.is_free(*hole, length));
  }
}

TEST_CASE("where everything above is taken a hole is found below") {
  const Layout layout(image_with({area(0x0ff000000000, kAddressEnd.value)}));
  const auto hole = layout.hole(1 << 20);
  REQUIRE(hole);
  CHECK(hole->value < 0x0ff000000000);
}

TEST_CASE("no hole where there is no room") {
  const Layout layout(image_with({area(0x20000, kAddressEnd.value)}));
  CHECK(!layout.hole(1 << 30));
  CHECK(!Layout().hole(~u64{0}));
}

TEST_CASE("areas at the end of the address space do not confuse the search") {
  const Layout layout(image_with({area(0xffffffffff600000, 0xffffffffff601000)}));
  CHECK(layout.hole(1 << 20).has_value());
}

TEST_CASE("what reaches beyond the address space leaves no room behind its start") {
  model::Image image = image_with({});
  model::MemoryMarks& marks = image.processes[0].memory.marks;
  marks.start_brk = {0x20000};
  for (const u64 brk : {~u64{0}, ~u64{4095}, u64{0x10000}}) {
    marks.brk = {brk};
    CHECK(!Layout(image).hole(1 << 20));
  }
}

TEST_CASE("scratch is free here and in the image") {
  const model::Image image = image_with({area(0x100000000000, 0x100010000000)});
  const auto scratch = choose_scratch(image, 3 << 20);
  REQUIRE(scratch.ok());
  CHECK(Layout(image).is_free(scratch->start, scratch->length));
}

TEST_CASE("homes of shared memory are disjoint and the same for everybody") {
  model::Image image = image_with({area(0x400000, 0x500000)});
  image.resources = {model::SharedMemory{.size = 5000}, model::Directory{},
                     model::SharedMemory{.size = u64{1} << 40}};
  const Scratch scratch{{0x100000000000}, 1 << 24};
  const auto homes = shared_homes(image, scratch);
  REQUIRE(homes.ok());
  REQUIRE(homes->size() == 2);
  Layout taken(image);
  taken.add(scratch.start, scratch.length);
  CHECK(taken.is_free(homes->at(0), 8192));
  taken.add(homes->at(0), 8192);
  CHECK(taken.is_free(homes->at(2), u64{1} << 40));
  CHECK(*homes == *shared_homes(image, scratch));
  taken.add(homes->at(2), u64{1} << 40);
  const auto vdso = foreign_vdso_home(image, scratch, 0x8000);
  REQUIRE(vdso.ok());
  CHECK(taken.is_free(*vdso, 0x8000));
}
