// ptrace(2) and waitid(2), typed; nothing is decided here. Raw system calls, because the C library
// lacks the newer requests and folds the value of PEEKUSER into the result.
#include "trace/ptrace.h"

#include <elf.h>
#include <fmt/format.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>

#include "base/sys.h"
#include "trace/child_signal.h"

namespace stasis::trace {
namespace {

// <linux/ptrace.h>; it cannot be included beside <sys/ptrace.h>.
constexpr long kGetRseqConfiguration = 0x420f;
constexpr long kGetUserDispatch = 0x4211;
struct RseqRaw {
  u64 pointer = 0;
  u32 size = 0, signature = 0, flags = 0, padding = 0;
};
struct UserDispatchRaw {
  u64 mode = 0, selector = 0, offset = 0, length = 0;
};
struct PeekArguments {
  u64 offset = 0;
  u32 flags = 0;
  i32 count = 0;
};

template <class Address, class Data>
Result<long> request(std::string_view verb, long number, Pid tid, Address address, Data data) {
  const long result = ::syscall(SYS_ptrace, number, static_cast<long>(tid), address, data);
  if (result == -1) return sys::last_error(verb, fmt::format("thread {}", tid));
  return result;
}

template <class Address, class Data>
Result<void> act(std::string_view verb, long number, Pid tid, Address address, Data data) {
  TRY(request(verb, number, tid, address, data));
  return {};
}

Result<std::optional<Stop>> wait_once(Pid tid, int flags) {
  siginfo_t info = {};
  flags |= WSTOPPED | WEXITED | __WALL;
  while (::waitid(P_PID, static_cast<id_t>(tid), &info, flags) == -1) {
    Error error = sys::last_error("wait for", fmt::format("thread {}", tid));
    if (error.code != EINTR) return error;
  }
  if (info.si_pid == 0) return std::optional<Stop>();
  return std::optional(Stop{.tid = tid, .code = info.si_code, .status = info.si_status});
}

}  // namespace

Result<void> seize(Pid tid, u64 options) {
  return act("trace", PTRACE_SEIZE, tid, 0L, options);
}
Result<void> interrupt(Pid tid) {
  return act("interrupt", PTRACE_INTERRUPT, tid, 0L, 0L);
}
Result<void> detach(Pid tid, int signal) {
  return act("let go of", PTRACE_DETACH, tid, 0L, static_cast<long>(signal));
}
Result<void> resume(Pid tid, int signal) {
  return act("resume", PTRACE_CONT, tid, 0L, static_cast<long>(signal));
}
Result<void> resume_to_call(Pid tid, int signal) {
  return act("resume", PTRACE_SYSCALL, tid, 0L, static_cast<long>(signal));
}
Result<void> set_options(Pid tid, u64 options) {
  return act("set the tracing options of", PTRACE_SETOPTIONS, tid, 0L, options);
}

Result<arch::Registers> get_registers(Pid tid) {
  arch::Registers registers;
  iovec area = {&registers.raw, sizeof registers.raw};
  TRY(request("read the registers of", PTRACE_GETREGSET, tid, long{NT_PRSTATUS}, &area));
  if (area.iov_len != sizeof registers.raw) {
    return fail(EOPNOTSUPP, fmt::format("thread {} is not a native 64-bit program", tid));
  }
  return registers;
}

Result<void> set_registers(Pid tid, const arch::Registers& registers) {
  arch::Registers copy = registers;  // the interface wants a writable one
  iovec area = {&copy.raw, sizeof copy.raw};
  return act("set the registers of", PTRACE_SETREGSET, tid, long{NT_PRSTATUS}, &area);
}

Result<u64> peek_user(Pid tid, u64 offset) {
  u64 value = 0;  // the raw call stores it here
  TRY(request("read a register of", PTRACE_PEEKUSER, tid, offset, &value));
  return value;
}

Result<void> poke_user(Pid tid, u64 offset, u64 value) {
  return act("set a register of", PTRACE_POKEUSER, tid, offset, value);
}

Result<ExtendedState> get_extended_state(Pid tid) {
  ExtendedState state;
  state.bytes.resize(16384);  // 11,008 with AMX and AVX-512
  long kind = NT_X86_XSTATE;
  while (true) {
    iovec area = {state.bytes.data(), state.bytes.size()};
    const auto got = request("read the vector registers of", PTRACE_GETREGSET, tid, kind, &area);
    if (!got && got.error().code == ENODEV && !state.legacy) {
      state.legacy = true;
      kind = NT_PRFPREG;
      continue;
    }
    if (!got) return got.error();
    if (area.iov_len == state.bytes.size()) {  // perhaps cut off
      state.bytes.resize(2 * state.bytes.size());
      continue;
    }
    state.bytes.resize(area.iov_len);
    return state;
  }
}

Result<void> set_extended_state(Pid tid, const ExtendedState& state) {
  Bytes copy = state.bytes;
  iovec area = {copy.data(), copy.size()};
  const long kind = state.legacy ? long{NT_PRFPREG} : long{NT_X86_XSTATE};
  return act("set the vector registers of", PTRACE_SETREGSET, tid, kind, &area);
}

Result<u64> get_signal_mask(Pid tid) {
  u64 mask = 0;
  TRY(request("read the signal mask of", PTRACE_GETSIGMASK, tid, sizeof mask, &mask));
  return mask;
}

Result<void> set_signal_mask(Pid tid, u64 mask) {
  return act("set the signal mask of", PTRACE_SETSIGMASK, tid, sizeof mask, &mask);
}

Result<std::vector<siginfo_t>> peek_signals(Pid tid, bool process_wide) {
  constexpr i32 kBlock = 64;
  std::vector<siginfo_t> signals;
  while (true) {
    const size_t before = signals.size();
    signals.resize(before + kBlock);
    PeekArguments wanted = {
        .offset = before, .flags = process_wide ? u32{1} : u32{0}, .count = kBlock};
    const long got = TRY(request("read the pending signals of", PTRACE_PEEKSIGINFO, tid, &wanted,
                                 signals.data() + before));
    signals.resize(before + static_cast<size_t>(got));
    if (got < kBlock) return signals;
  }
}

Result<siginfo_t> get_siginfo(Pid tid) {
  siginfo_t info = {};
  TRY(request("read the signal information of", PTRACE_GETSIGINFO, tid, 0L, &info));
  return info;
}

Result<u64> event_message(Pid tid) {
  u64 message = 0;
  TRY(request("read the event message of", PTRACE_GETEVENTMSG, tid, 0L, &message));
  return message;
}

Result<std::optional<RseqConfiguration>> get_rseq(Pid tid) {
  RseqRaw raw;
  const auto got = request("read the rseq area of", kGetRseqConfiguration, tid, sizeof raw, &raw);
  if (!got) {
    // EIO and EINVAL: a kernel without the request.
    if (got.error().code == EIO || got.error().code == EINVAL)
      return std::optional<RseqConfiguration>();
    return got.error();
  }
  if (raw.pointer == 0) return std::optional<RseqConfiguration>();
  return std::optional(RseqConfiguration{{raw.pointer}, raw.size, raw.signature});
}

Result<bool> has_user_dispatch(Pid tid) {
  UserDispatchRaw raw;
  const auto got = request("read the user dispatch of", kGetUserDispatch, tid, sizeof raw, &raw);
  if (!got) {
    if (got.error().code == EIO || got.error().code == EINVAL) return false;
    return got.error();
  }
  return raw.mode != 0;
}

Result<std::optional<Stop>> poll_for(Pid tid, bool consume) {
  return wait_once(tid, WNOHANG | (consume ? 0 : WNOWAIT));
}

Result<Stop> wait_for(Pid tid, bool consume, i64 timeout_ms) {
  if (timeout_ms < 0) return *TRY(wait_once(tid, consume ? 0 : WNOWAIT));
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout_ms);
  ChildSignal signal;
  while (true) {
    if (const auto stop = TRY(poll_for(tid, consume))) return *stop;
    if (std::chrono::steady_clock::now() >= end) {
      return sys::error_of(ETIMEDOUT, "wait for", fmt::format("thread {}", tid));
    }
    (void)signal.sleep();
  }
}

}  // namespace stasis::trace
