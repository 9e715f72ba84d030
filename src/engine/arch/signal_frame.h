// The insurance: a signal frame that holds the complete state of a thread. It lies on a stack while
// the thread makes calls for us. If we die, the `ret` behind the call under way leads to
// rt_sigreturn, which finds the frame and puts everything back. Nothing in it is ever executed, and
// in the normal course it is not used at all. Pure; writing it is trace/remote_call's business.
// Essay: docs/design/insured-calls.md.
#pragma once

#include "arch/gadgets.h"
#include "arch/registers.h"
#include "base/result.h"

namespace stasis::arch {

// The registers with which an interrupted call begins again when nobody knows any more that it had
// been interrupted: `number` is the call behind restart_syscall (-1: cannot be told, it returns
// EINTR). A call with a relative timeout waits its full time again.
Registers resolve_interruption(const Registers& raw, i64 number);

struct FrameContent {
  Registers registers;  // as resolve_interruption() gives them
  u64 blocked_signals = 0;
  ByteView extended;  // NT_X86_XSTATE, or NT_PRFPREG if `legacy`
  bool legacy = false;
  Gadgets gadgets;  // complete
  Pid tid = 0;
};

// Bytes needed below the red zone for a frame and `scratch` bytes behind it, alignment included.
u64 frame_room(ByteView extended, bool legacy, u64 scratch);

struct SignalFrame {
  RemoteAddr start;  // where `bytes` belong
  Bytes bytes;
  RemoteAddr scratch;  // behind the frame
  // Where a thread must stand to make a call, and where it stands between calls so that running on
  // means rt_sigreturn.
  RemoteAddr call_stack;
  RemoteAddr park_instruction, park_stack;
};
// `room` begins at `lowest` and has frame_room() bytes.
SignalFrame build_signal_frame(const FrameContent& content, RemoteAddr lowest, u64 scratch);

// Bytes that the ABI lets a function use below its stack pointer.
inline constexpr u64 kRedZone = 128;

// Whether a thread at `registers` stands on such a frame (of a checkpointer that was killed a
// moment ago): `stack` are kLeftoverBytes from kLeftoverBelow bytes below its stack pointer.
inline constexpr u64 kLeftoverBelow = 64;
inline constexpr u64 kLeftoverBytes = 448;
bool stands_on_frame(ByteView stack, RemoteAddr stack_pointer, Pid tid);

// Whether `room`, which begins at `lowest`, holds a frame that somebody's death left there.
bool holds_dead_frame(ByteView room, RemoteAddr lowest);

// --- Frames for handlers: what the kernel puts on a stack when it delivers a signal. ---

// As resolve_interruption(), for a thread that is going to run a handler: sigsuspend and pause, and
// only they, are over and return EINTR.
Registers resolve_for_handler(const Registers& raw, i64 number);
// Whether the call waits for nothing but a signal (sigsuspend, pause).
bool waits_for_signal(i64 number);

struct HandlerContent {
  Registers registers;  // as resolve_for_handler() gives them
  u64 blocked_signals = 0;
  ByteView extended;  // NT_X86_XSTATE, or NT_PRFPREG if `legacy`
  bool legacy = false;
  RemoteAddr handler, restorer;  // the latter is where the handler returns to
  int signal = 0;
  u64 value = 0;  // siginfo.si_value
};
struct HandlerFrame {
  RemoteAddr start;  // where `bytes` belong: below the red zone
  Bytes bytes;
  Registers registers;  // of the thread at the handler's first instruction
};
HandlerFrame build_handler_frame(const HandlerContent& content);

// The vector registers with which the kernel starts a handler: those of a new program, whatever the
// interrupted code had in them (MMX, unmasked exceptions).
Bytes initial_extended(ByteView extended, bool legacy);

}  // namespace stasis::arch
