// Signal frame of x86_64: struct rt_sigframe and the FXSAVE/XSAVE area as rt_sigreturn reads them
// (arch/x86/kernel/signal_64.c and fpu/signal.c). The siginfo behind the ucontext is never read.
#include "arch/signal_frame.h"

#include <cpuid.h>
#include <signal.h>
#include <sys/syscall.h>
#include <ucontext.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "arch/call_class.h"

namespace stasis::arch {
namespace {

// struct rt_sigframe without its siginfo.
struct Frame {
  u64 return_address = 0;  // pretcode: popped by the `ret` of the call gadget
  u64 flags = 0;
  u64 link = 0;
  u64 stack_pointer = 0;  // uc_stack
  u32 stack_flags = 0, stack_padding = 0;
  u64 stack_size = 0;
  u64 registers[18] = {};  // struct sigcontext_64
  u16 cs = 0, gs = 0, fs = 0, ss = 0;
  u64 error = 0, trap = 0, old_mask = 0, cr2 = 0;
  u64 extended = 0;      // address of the FXSAVE area
  u64 reserved[8] = {};  // never read by the kernel; holds our mark
  u64 mask = 0;
};
static_assert(sizeof(Frame) == 312);
static_assert(offsetof(Frame, extended) == 232 && offsetof(Frame, mask) == 304);

constexpr u64 kAlign = 64;
constexpr u64 kBefore = 64;           // room for the words of the pop form
constexpr u64 kExtendedOffset = 512;  // from the frame's start
constexpr u64 kLegacySize = 512;
constexpr u64 kXsaveMinimum = 576;   // FXSAVE area and XSAVE header
constexpr u64 kSoftwareBytes = 464;  // sw_reserved
constexpr u64 kHeaderOffset = 512;   // XSTATE_BV
constexpr u64 kSigreturn = 15;
// An invalid ss_flags: restore_altstack() gives up silently and the real one stays.
constexpr u32 kKeepAltstack = 0x40;
constexpr u64 kUcFpXstate = 1, kUcSigcontextSs = 2, kUcStrictRestoreSs = 4;
// Flags that a handler starts without: direction, trap, resume.
constexpr u64 kHandlerClearsFlags = 0x400 | 0x100 | 0x10000;
constexpr u64 kMark = 0x53495341'54530001;  // in reserved[0]; [1] is the tid, [2] the place

u64 align_up(u64 value) {
  return (value + kAlign - 1) & ~(kAlign - 1);
}

u64 features_of(ByteView extended) {
  u64 features = 0;
  if (extended.size() >= kXsaveMinimum) {
    std::memcpy(&features, extended.data() + kHeaderOffset, sizeof features);
  }
  return features;
}

// How far the state components in use reach (standard format: CPUID leaf 13).
u64 xsave_size(ByteView extended) {
  u64 size = kXsaveMinimum;
  const u64 features = features_of(extended);
  for (u32 bit = 2; bit < 63; ++bit) {
    u32 length = 0, offset = 0, ecx = 0, edx = 0;
    if ((features >> bit & 1) == 0) continue;
    if (__get_cpuid_count(13, bit, &length, &offset, &ecx, &edx) == 0) continue;
    size = std::max<u64>(size, u64{offset} + length);
  }
  return std::min<u64>(size, extended.size());
}

bool has_xsave(ByteView extended, bool legacy) {
  return !legacy && extended.size() >= kXsaveMinimum;
}

u64 extended_room(ByteView extended, bool legacy) {
  return align_up(has_xsave(extended, legacy) ? xsave_size(extended) + 4 : kLegacySize);
}

void put(Bytes& bytes, u64 offset, const void* from, u64 length) {
  std::memcpy(bytes.data() + offset, from, length);
}

void put_extended(Bytes& bytes, u64 at, ByteView extended, bool legacy) {
  if (!has_xsave(extended, legacy)) {
    put(bytes, at, extended.data(), std::min<u64>(extended.size(), kLegacySize));
    return;
  }
  const u64 size = xsave_size(extended);
  put(bytes, at, extended.data(), size);
  struct {
    u32 magic = FP_XSTATE_MAGIC1;
    u32 extended_size = 0;
    u64 features = 0;
    u32 size = 0;
    u32 padding[7] = {};
  } software;
  static_assert(sizeof software == 48);
  software.extended_size = static_cast<u32>(size + 4);
  software.features = features_of(extended) | 3;
  software.size = static_cast<u32>(size);
  put(bytes, at + kSoftwareBytes, &software, sizeof software);
  const u32 end_magic = FP_XSTATE_MAGIC2;
  put(bytes, at + size, &end_magic, sizeof end_magic);
}

void put_registers(Frame& frame, const Registers& registers) {
  const auto& raw = registers.raw;
  const u64 ordered[18] = {raw.r8,  raw.r9,  raw.r10, raw.r11, raw.r12, raw.r13,
                           raw.r14, raw.r15, raw.rdi, raw.rsi, raw.rbp, raw.rbx,
                           raw.rdx, raw.rax, raw.rcx, raw.rsp, raw.rip, raw.eflags};
  std::memcpy(frame.registers, ordered, sizeof ordered);
  frame.cs = static_cast<u16>(raw.cs);
  frame.ss = static_cast<u16>(raw.ss);
}

}  // namespace

Registers resolve_interruption(const Registers& raw, i64 number) {
  Registers resolved = raw;
  if (!is_interrupted(raw)) return resolved;
  if (number < 0 || is_restart_call(number)) {
    set_result(resolved, -EINTR);
    return resolved;
  }
  set_result(resolved, number);
  set_instruction_pointer(resolved, instruction_pointer(raw) - kSyscallLength);
  return resolved;
}

u64 frame_room(ByteView extended, bool legacy, u64 scratch) {
  return kAlign + kBefore + kExtendedOffset + extended_room(extended, legacy) + align_up(scratch);
}

SignalFrame build_signal_frame(const FrameContent& content, RemoteAddr lowest, u64 scratch) {
  const u64 at = align_up(lowest.value) + kBefore;  // the frame proper, 64-aligned
  const u64 extended_at = at + kExtendedOffset;
  const u64 scratch_at = extended_at + extended_room(content.extended, content.legacy);

  SignalFrame result;
  result.start = {at - kBefore};
  result.scratch = {scratch_at};
  result.bytes.resize(scratch_at + align_up(scratch) - result.start.value);

  Frame frame;
  frame.flags = kUcSigcontextSs | kUcStrictRestoreSs;
  if (has_xsave(content.extended, content.legacy)) frame.flags |= kUcFpXstate;
  frame.stack_flags = kKeepAltstack;
  put_registers(frame, content.registers);
  frame.extended = extended_at;
  frame.reserved[0] = kMark;
  frame.reserved[1] = static_cast<u64>(content.tid);
  frame.reserved[2] = at;
  frame.mask = content.blocked_signals;
  if (content.gadgets.restorer) {
    // The `ret` pops the restorer's address; rt_sigreturn looks 8 bytes below the stack pointer.
    frame.return_address = content.gadgets.restorer.value;
    result.call_stack = {at};
    result.park_instruction = content.gadgets.restorer;
    result.park_stack = {at + 8};
  } else {
    // `ret` to the pop, which takes the number, and `ret` to the call.
    const u64 words[2] = {content.gadgets.pop.value, kSigreturn};
    put(result.bytes, kBefore - sizeof words, words, sizeof words);
    frame.return_address = content.gadgets.call.value;
    result.call_stack = {at - sizeof words};
    result.park_instruction = content.gadgets.pop;
    result.park_stack = {at - 8};
  }
  put(result.bytes, kBefore, &frame, sizeof frame);
  put_extended(result.bytes, kBefore + kExtendedOffset, content.extended, content.legacy);
  return result;
}

bool holds_dead_frame(ByteView room, RemoteAddr lowest) {
  const u64 at = align_up(lowest.value) + kBefore;
  const u64 mark_at = at - lowest.value + offsetof(Frame, reserved);
  u64 mark[3] = {};
  if (mark_at + sizeof mark > room.size()) return false;
  std::memcpy(mark, room.data() + mark_at, sizeof mark);
  return mark[0] == kMark && mark[2] == at;
}

bool stands_on_frame(ByteView stack, RemoteAddr stack_pointer, Pid tid) {
  // The stack pointer is between call_stack and park_stack, or one word further.
  for (i64 offset = -24; offset <= 24; offset += 8) {
    const u64 at = stack_pointer.value + static_cast<u64>(offset);
    const u64 mark_at =
        static_cast<u64>(static_cast<i64>(kLeftoverBelow) + offset) + offsetof(Frame, reserved);
    u64 mark[3] = {};
    if (at % kAlign != 0 || mark_at + sizeof mark > stack.size()) continue;
    std::memcpy(mark, stack.data() + mark_at, sizeof mark);
    if (mark[0] == kMark && mark[1] == static_cast<u64>(tid) && mark[2] == at) return true;
  }
  return false;
}

bool waits_for_signal(i64 number) {
  return number == SYS_rt_sigsuspend || number == SYS_pause;
}

Registers resolve_for_handler(const Registers& raw, i64 number) {
  if (is_interrupted(raw) && waits_for_signal(number)) return resolve_interruption(raw, -1);
  return resolve_interruption(raw, number);
}

HandlerFrame build_handler_frame(const HandlerContent& content) {
  // From above: red zone, vector registers on a line of their own, siginfo behind the ucontext.
  const u64 top = content.registers.raw.rsp - kRedZone;
  const u64 extended_at = (top - extended_room(content.extended, content.legacy)) & ~(kAlign - 1);
  const u64 lowest = extended_at - sizeof(Frame) - sizeof(siginfo_t);
  const u64 at = (lowest & ~u64{15}) - 8;  // as if a call had just pushed the return address
  HandlerFrame result;
  result.start = {at};
  result.bytes.resize(top - at);

  Frame frame;
  frame.return_address = content.restorer.value;
  frame.flags = kUcSigcontextSs | kUcStrictRestoreSs;
  if (has_xsave(content.extended, content.legacy)) frame.flags |= kUcFpXstate;
  frame.stack_flags = kKeepAltstack;
  put_registers(frame, content.registers);
  frame.extended = extended_at;
  frame.mask = content.blocked_signals;
  siginfo_t info = {};
  info.si_signo = content.signal;
  info.si_code = SI_QUEUE;
  std::memcpy(&info.si_value, &content.value, sizeof content.value);
  put(result.bytes, 0, &frame, sizeof frame);
  put(result.bytes, sizeof frame, &info, sizeof info);
  put_extended(result.bytes, extended_at - at, content.extended, content.legacy);

  result.registers = content.registers;
  set_call(result.registers, content.handler, 0,
           {static_cast<u64>(content.signal), at + sizeof frame, at + sizeof frame.return_address});
  set_stack_pointer(result.registers, {at});
  result.registers.raw.eflags &= ~kHandlerClearsFlags;
  return result;
}

Bytes initial_extended(ByteView extended, bool legacy) {
  constexpr u64 kControlWord = 0, kMxcsr = 24, kMxcsrMask = 28;  // of the FXSAVE area
  constexpr u64 kProtectionKeys = u64{1} << 9;                   // PKRU is not for us to change
  Bytes initial(extended.begin(), extended.end());
  const u64 area = std::min<u64>(initial.size(), kLegacySize);
  u32 mask = 0;
  if (area == kLegacySize) std::memcpy(&mask, extended.data() + kMxcsrMask, sizeof mask);
  std::fill_n(initial.begin(), area, std::byte{});
  if (area < kLegacySize) return initial;
  const u16 control = 0x37f;
  const u32 mxcsr = 0x1f80;
  put(initial, kControlWord, &control, sizeof control);
  put(initial, kMxcsr, &mxcsr, sizeof mxcsr);
  put(initial, kMxcsrMask, &mask, sizeof mask);
  if (has_xsave(extended, legacy)) {
    const u64 features = (features_of(extended) & kProtectionKeys) | 3;
    put(initial, kHeaderOffset, &features, sizeof features);
  }
  return initial;
}

}  // namespace stasis::arch
