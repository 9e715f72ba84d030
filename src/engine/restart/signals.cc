// rt_sigaction(2), rt_sigqueueinfo(2), rt_tgsigqueueinfo(2). A process may queue to itself a
// siginfo with any si_code, so that what was pending comes back byte by byte.
#include "restart/signals.h"

#include <fmt/format.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cstring>

namespace stasis::restart {
namespace {

constexpr int kSignals = 64;
constexpr u64 kMaskSize = 8;
constexpr size_t kInfoSize = 128;  // siginfo_t of the kernel

Bytes padded(const Bytes& info) {
  Bytes bytes = info;
  bytes.resize(kInfoSize);
  return bytes;
}

template <class Keep>
std::vector<Bytes> filtered(const std::vector<Bytes>& pending, Keep keep) {
  std::vector<Bytes> result;
  std::copy_if(pending.begin(), pending.end(), std::back_inserter(result),
               [&](const Bytes& info) { return keep(signal_of(info)); });
  return result;
}

}  // namespace

int signal_of(const Bytes& info) {
  int signal = 0;  // si_signo is first everywhere
  if (info.size() >= sizeof signal) std::memcpy(&signal, info.data(), sizeof signal);
  return signal;
}

std::vector<Bytes> only_traps(const std::vector<Bytes>& pending) {
  return filtered(pending, [](int signal) { return signal == SIGTRAP; });
}

std::vector<Bytes> without_traps(const std::vector<Bytes>& pending) {
  return filtered(pending, [](int signal) { return signal != SIGTRAP; });
}

Bytes action_bytes(const model::Process& process, int signal) {
  struct KernelAction {
    u64 handler, flags, restorer, mask;
  } action = {};
  for (const model::SignalAction& saved : process.actions) {
    if (saved.signal != signal) continue;
    action = {saved.handler.value, saved.flags, saved.restorer.value, saved.mask};
  }
  const ByteView bytes = std::as_bytes(std::span(&action, 1));
  return {bytes.begin(), bytes.end()};
}

void add_actions(const model::Process& process, trace::Script& script) {
  for (int signal = 1; signal <= kSignals; ++signal) {
    if (signal == SIGKILL || signal == SIGSTOP || signal == SIGTRAP) continue;
    const trace::DataRef action = script.data(action_bytes(process, signal));
    script.call(fmt::format("set the action of signal {}", signal), SYS_rt_sigaction,
                {static_cast<u64>(signal), action, u64{0}, kMaskSize});
  }
}

void add_pending(const std::vector<Bytes>& pending, Pid pid, trace::Script& script) {
  for (const Bytes& info : pending) {
    const auto signal = static_cast<u64>(signal_of(info));
    script.call(fmt::format("queue the pending signal {}", signal), SYS_rt_sigqueueinfo,
                {static_cast<u64>(pid), signal, script.data(padded(info))});
  }
}

void add_thread_pending(const std::vector<Bytes>& pending, Pid pid, Pid tid,
                        trace::Script& script) {
  for (const Bytes& info : pending) {
    const auto signal = static_cast<u64>(signal_of(info));
    script.call(fmt::format("queue the pending signal {} of thread {}", signal, tid),
                SYS_rt_tgsigqueueinfo,
                {static_cast<u64>(pid), static_cast<u64>(tid), signal, script.data(padded(info))});
  }
}

}  // namespace stasis::restart
