// arch/signal_frame: the bytes that rt_sigreturn reads. That the kernel agrees with it is what
// the kill test shows.
#include "arch/signal_frame.h"

#include <doctest/doctest.h>
#include <sys/syscall.h>

#include <cerrno>
#include <cstring>

#include "arch/call_class.h"

using namespace stasis;

namespace {

template <class T>
T at(ByteView bytes, u64 offset) {
  T value{};
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

arch::FrameContent content_with(ByteView extended) {
  arch::FrameContent content;
  content.registers.raw.r8 = 8;
  content.registers.raw.rax = 77;
  content.registers.raw.rsp = 0x7ffd00001000;
  content.registers.raw.rip = 0x401234;
  content.registers.raw.eflags = 0x246;
  content.registers.raw.cs = 0x33;
  content.registers.raw.ss = 0x2b;
  content.blocked_signals = 0xabcd;
  content.extended = extended;
  content.gadgets.call = {0x1111};
  content.gadgets.restorer = {0x2222};
  content.tid = 42;
  return content;
}

// An XSAVE area with x87, SSE and AVX in use.
Bytes xsave_area() {
  Bytes area(4096);
  const u64 features = 7;
  std::memcpy(area.data() + 512, &features, sizeof features);
  area[576] = std::byte{0x5a};  // ymm0's upper half
  return area;
}

constexpr RemoteAddr kLowest{0x7ffd00000010};

}  // namespace

TEST_CASE("the frame has the kernel's layout") {
  const Bytes extended = xsave_area();
  const auto frame = arch::build_signal_frame(content_with(extended), kLowest, 1024);
  const u64 place = frame.call_stack.value;  // with a restorer the frame proper begins here
  CHECK(place % 64 == 0);
  const ByteView bytes = ByteView(frame.bytes).subspan(place - frame.start.value);
  CHECK(at<u64>(bytes, 0) == 0x2222);        // where `ret` goes
  CHECK(at<u64>(bytes, 8) == 7);             // uc_flags
  CHECK(at<u32>(bytes, 32) == 0x40);         // ss_flags: leave the alternate stack alone
  CHECK(at<u64>(bytes, 48) == 8);            // r8
  CHECK(at<u64>(bytes, 48 + 13 * 8) == 77);  // rax
  CHECK(at<u64>(bytes, 48 + 15 * 8) == 0x7ffd00001000);  // rsp
  CHECK(at<u64>(bytes, 48 + 16 * 8) == 0x401234);        // rip
  CHECK(at<u64>(bytes, 48 + 17 * 8) == 0x246);           // eflags
  CHECK(at<u16>(bytes, 192) == 0x33);
  CHECK(at<u16>(bytes, 198) == 0x2b);
  CHECK(at<u64>(bytes, 304) == 0xabcd);  // uc_sigmask
  CHECK(frame.park_instruction == RemoteAddr{0x2222});
  CHECK(frame.park_stack.value == place + 8);
}

TEST_CASE("the vector registers follow with the marks that the kernel looks for") {
  const Bytes extended = xsave_area();
  const auto frame = arch::build_signal_frame(content_with(extended), kLowest, 1024);
  const u64 place = frame.call_stack.value - frame.start.value;
  const u64 fpstate = at<u64>(frame.bytes, place + 232) - frame.start.value;
  CHECK((frame.start.value + fpstate) % 64 == 0);
  const ByteView bytes = ByteView(frame.bytes).subspan(fpstate);
  CHECK(at<u32>(bytes, 464) == 0x46505853);
  const u32 size = at<u32>(bytes, 464 + 16);
  CHECK(size == 576 + 256);  // the AVX component
  CHECK(at<u32>(bytes, 468) == size + 4);
  CHECK(at<u64>(bytes, 472) == 7);
  CHECK(at<u32>(bytes, size) == 0x46505845);
  CHECK(bytes[576] == std::byte{0x5a});
}

TEST_CASE("a machine without XSAVE gets the FXSAVE form") {
  const Bytes legacy(512, std::byte{3});
  auto content = content_with(legacy);
  content.legacy = true;
  const auto frame = arch::build_signal_frame(content, kLowest, 1024);
  const u64 place = frame.call_stack.value - frame.start.value;
  CHECK(at<u64>(frame.bytes, place + 8) == 6);
  CHECK(frame.bytes.size() <= arch::frame_room(legacy, true, 1024));
}

TEST_CASE("everything lies inside of the room asked for, whatever its alignment") {
  const Bytes extended = xsave_area();
  const u64 room = arch::frame_room(extended, false, 1024);
  for (u64 shift = 0; shift < 64; shift += 8) {
    const RemoteAddr lowest{0x7ffd00000000 + shift};
    const auto frame = arch::build_signal_frame(content_with(extended), lowest, 1024);
    CHECK(frame.start >= lowest);
    CHECK(frame.start + frame.bytes.size() <= lowest + room);
    CHECK(frame.scratch + 1024 <= frame.start + frame.bytes.size());
    CHECK(frame.call_stack - 16 >= frame.start);
  }
}

TEST_CASE("without a restorer three words lead to rt_sigreturn") {
  const Bytes extended = xsave_area();
  auto content = content_with(extended);
  content.gadgets.restorer = {};
  content.gadgets.pop = {0x3333};
  const auto frame = arch::build_signal_frame(content, kLowest, 1024);
  const u64 words = frame.call_stack.value - frame.start.value;
  CHECK(at<u64>(frame.bytes, words) == 0x3333);
  CHECK(at<u64>(frame.bytes, words + 8) == 15);
  CHECK(at<u64>(frame.bytes, words + 16) == 0x1111);
  CHECK((frame.call_stack + 16).value % 64 == 0);
  CHECK(frame.park_instruction == RemoteAddr{0x3333});
  CHECK(frame.park_stack == frame.call_stack + 8);
}

TEST_CASE("an interrupted call is issued again from the frame") {
  arch::Registers raw;
  arch::set_instruction_pointer(raw, {0x401002});
  arch::set_call_number(raw, SYS_read);
  arch::set_result(raw, arch::kRestartSys);
  const auto again = arch::resolve_interruption(raw, SYS_read);
  CHECK(arch::instruction_pointer(again) == RemoteAddr{0x401000});
  CHECK(arch::result(again) == SYS_read);
  arch::set_call_number(raw, SYS_restart_syscall);
  arch::set_result(raw, arch::kRestartBlock);
  CHECK(arch::result(arch::resolve_interruption(raw, SYS_poll)) == SYS_poll);
  // What cannot be told must not become a call of its own.
  CHECK(arch::result(arch::resolve_interruption(raw, -1)) == -EINTR);
  CHECK(arch::instruction_pointer(arch::resolve_interruption(raw, -1)) == RemoteAddr{0x401002});
}

TEST_CASE("a thread outside of calls stays as it is") {
  arch::Registers raw;
  arch::set_instruction_pointer(raw, {0x401002});
  arch::set_call_number(raw, -1);
  arch::set_result(raw, -512);
  const auto same = arch::resolve_interruption(raw, -1);
  CHECK(arch::result(same) == -512);
  CHECK(arch::instruction_pointer(same) == RemoteAddr{0x401002});
}

TEST_CASE("a thread that stands on a frame of ours is known, another one is not") {
  const Bytes extended = xsave_area();
  const auto frame = arch::build_signal_frame(content_with(extended), kLowest, 1024);
  const auto stands = [&](RemoteAddr sp, Pid tid) {
    Bytes stack(arch::kLeftoverBytes);
    const u64 from = sp.value - arch::kLeftoverBelow;
    for (u64 i = 0; i < stack.size(); ++i) {
      const u64 place = from + i;
      if (place >= frame.start.value && place < frame.start.value + frame.bytes.size())
        stack[i] = frame.bytes[place - frame.start.value];
    }
    return arch::stands_on_frame(stack, sp, tid);
  };
  CHECK(stands(frame.call_stack, 42));
  CHECK(stands(frame.park_stack, 42));
  CHECK(!stands(frame.call_stack, 43));
  CHECK(!stands(frame.call_stack + 512, 42));
}
