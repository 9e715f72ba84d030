// arch/gadgets: finding instructions in bytes, and knowing when a thread is inside them.
#include "arch/gadgets.h"

#include <doctest/doctest.h>

#include <algorithm>

using namespace stasis;

namespace {

constexpr RemoteAddr kBase{0x400000};

Bytes nops(size_t count) {
  return Bytes(count, std::byte{0x90});
}

void place(Bytes& code, size_t at, std::initializer_list<int> values) {
  std::transform(values.begin(), values.end(), code.begin() + static_cast<long>(at),
                 [](int value) { return static_cast<std::byte>(value); });
}

}  // namespace

TEST_CASE("all three gadgets are found where they lie") {
  Bytes code = nops(100);
  place(code, 10, {0x0f, 0x05, 0xc3});
  place(code, 30, {0x48, 0xc7, 0xc0, 15, 0, 0, 0, 0x0f, 0x05});
  place(code, 60, {0x58, 0xc3});
  arch::Gadgets gadgets;
  arch::find_gadgets(code, kBase, gadgets);
  CHECK(gadgets.call == kBase + 10);
  CHECK(gadgets.restorer == kBase + 30);
  CHECK(gadgets.pop == kBase + 60);
  CHECK(gadgets.complete());
}

TEST_CASE("the short form of the restorer counts, another number does not") {
  Bytes code = nops(40);
  place(code, 5, {0xb8, 16, 0, 0, 0, 0x0f, 0x05});
  place(code, 20, {0xb8, 15, 0, 0, 0, 0x0f, 0x05});
  arch::Gadgets gadgets;
  arch::find_gadgets(code, kBase, gadgets);
  CHECK(gadgets.restorer == kBase + 20);
  CHECK(!gadgets.complete());
}

TEST_CASE("a call and a pop are enough, a restorer alone is not") {
  arch::Gadgets gadgets;
  gadgets.restorer = kBase;
  CHECK(!gadgets.complete());
  gadgets.call = kBase;
  CHECK(gadgets.complete());
  gadgets.restorer = {};
  CHECK(!gadgets.complete());
  gadgets.pop = kBase;
  CHECK(gadgets.complete());
}

TEST_CASE("what was found in one block is kept when the next is searched") {
  Bytes first = nops(20);
  place(first, 3, {0x0f, 0x05, 0xc3});
  Bytes second = nops(20);
  place(second, 1, {0x0f, 0x05, 0xc3});
  arch::Gadgets gadgets;
  arch::find_gadgets(first, kBase, gadgets);
  arch::find_gadgets(second, kBase + 20, gadgets);
  CHECK(gadgets.call == kBase + 3);
}

TEST_CASE("a thread is within a gadget from its first byte to just behind it") {
  Bytes code = nops(60);
  place(code, 20, {0x0f, 0x05, 0xc3});
  const auto at = [&](size_t position) {
    return arch::is_within_gadget(
        ByteView(code).subspan(position - arch::kLongestGadget, 2 * arch::kLongestGadget));
  };
  CHECK(at(20));
  CHECK(at(22));  // the call has been made, `ret` is next
  CHECK(!at(18));
  CHECK(!at(30));
}
