// The vdso of this very process serves as an example; broken ones are made from it.
#include "arch/vdso.h"

#include "arch/registers.h"

#include <doctest/doctest.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <time.h>

#include <algorithm>
#include <cstring>

#include "base/sys.h"

using namespace stasis;

namespace {

Bytes own_vdso() {
  const auto* start = reinterpret_cast<const std::byte*>(::getauxval(AT_SYSINFO_EHDR));
  return start == nullptr ? Bytes() : Bytes(start, start + 2 * kPageSize);
}

u64 offset_of(const std::vector<arch::VdsoSymbol>& symbols, std::string_view name) {
  const auto found = std::find_if(symbols.begin(), symbols.end(),
                                  [&](const auto& symbol) { return symbol.name == name; });
  return found == symbols.end() ? 0 : found->offset;
}

}  // namespace

TEST_CASE("the vdso's functions are found by name") {
  const auto symbols = arch::vdso_symbols(own_vdso());
  REQUIRE(symbols.ok());
  CHECK(offset_of(*symbols, "__vdso_clock_gettime") != 0);
  CHECK(offset_of(*symbols, "__vdso_getcpu") != 0);
}

TEST_CASE("no prefix of a vdso is read beyond its end") {
  const Bytes vdso = own_vdso();
  for (u64 length = 0; length < vdso.size(); length += 13) {
    const auto symbols = arch::vdso_symbols(ByteView(vdso).first(length));
    if (symbols.ok()) CHECK(symbols->size() < 100);
  }
}

TEST_CASE("a damaged vdso is refused or read, never fatal") {
  const Bytes vdso = own_vdso();
  for (u64 at = 0; at < 2048; ++at) {
    Bytes damaged = vdso;
    damaged[at] ^= std::byte{0xff};
    (void)arch::vdso_symbols(damaged);  // either answer will do
  }
}

TEST_CASE("a system call instruction is found where there is one") {
  const Bytes none(16, std::byte{0x90});
  CHECK(!arch::find_call(none, {0x1000}));
  Bytes one = none;
  one[14] = std::byte{0x0f};
  one[15] = std::byte{0x05};
  CHECK(arch::find_call(one, {0x1000}) == RemoteAddr{0x100e});
  CHECK(arch::find_call(own_vdso(), {0x1000}));
}

TEST_CASE("a redirected vdso tells the time") {
  const Bytes vdso = own_vdso();
  const RemoteAddr home{::getauxval(AT_SYSINFO_EHDR)};
  const auto redirected = arch::redirect_vdso(vdso, vdso, home);
  REQUIRE(redirected.ok());
  const auto mapping = sys::Mapping::anonymous(redirected->size());
  REQUIRE(mapping.ok());
  std::memcpy(mapping->bytes().data(), redirected->data(), redirected->size());
  REQUIRE(::mprotect(mapping->bytes().data(), redirected->size(), PROT_READ | PROT_EXEC) == 0);
  const auto symbols = arch::vdso_symbols(vdso);
  const u64 offset = offset_of(*symbols, "__vdso_clock_gettime");
  using ClockGettime = int (*)(clockid_t, timespec*);
  const auto ask = reinterpret_cast<ClockGettime>(mapping->bytes().data() + offset);
  timespec before = {};
  timespec told = {};
  REQUIRE(::clock_gettime(CLOCK_MONOTONIC, &before) == 0);
  REQUIRE(ask(CLOCK_MONOTONIC, &told) == 0);
  CHECK(told.tv_sec >= before.tv_sec);
  CHECK(told.tv_sec <= before.tv_sec + 60);
}

TEST_CASE("a function that this kernel lacks is named") {
  const Bytes vdso = own_vdso();
  Bytes renamed = vdso;
  const std::string name = "__vdso_getcpu";
  const auto* text = reinterpret_cast<const std::byte*>(name.data());
  const auto at = std::search(renamed.begin(), renamed.end(), text, text + name.size());
  REQUIRE(at != renamed.end());
  *at = std::byte{'X'};
  const auto redirected = arch::redirect_vdso(renamed, vdso, {0x1000});
  REQUIRE(!redirected.ok());
  CHECK(redirected.error().what.find("X_vdso_getcpu") != std::string::npos);
}
