// Searching code and stacks. A frame lies on the thread's own stack where that is certainly a
// stack: the main thread's [stack], or a mapping that also holds the thread's TLS, as the C
// libraries lay them out. (The only thread of a process that a thread other than the first forked
// stands on the copy of that thread's stack.) Goroutine stacks, coroutines and alternate signal
// stacks are none; for those the frame lies at the low end of the main thread's stack, which is far
// from anything in use. Where that low end cannot be told from memory in use, the stack is made to
// reach further down, as an access of the program would: what was not mapped holds nothing.
// Essay: docs/design/insured-calls.md.
#include "trace/call_site.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>

#include "arch/signal_frame.h"

namespace stasis::trace {
namespace {

constexpr u64 kBlock = 256 * 1024;
// Distance that the main thread keeps from a borrowed place: it may run on before the borrower has
// left it, if we are killed.
constexpr u64 kBorrowDistance = 64 * 1024;

// Which code is searched first: the C library is sure to have what we need.
int preference(const proc::Area& area) {
  if (area.path.find("/libc.") != std::string::npos ||
      area.path.find("/libc-") != std::string::npos ||
      area.path.find("ld-musl") != std::string::npos)
    return 0;
  if (area.path.starts_with("/")) return 1;
  return 2;  // code made at run time
}

}  // namespace

Result<std::shared_ptr<CallSite>> CallSite::of(FrozenProcess& process) {
  if (!process.call_site) {
    auto site = std::make_shared<CallSite>();
    site->areas_ = TRY(proc::read_maps(process.any_live_tid()));
    TRY(site->search(process.memory));
    process.call_site = std::move(site);
  }
  return process.call_site;
}

Result<void> CallSite::search(const RemoteMemory& memory) {
  std::vector<const proc::Area*> code;
  for (const proc::Area& area : areas_) {
    const bool usable = (area.protection & (PROT_READ | PROT_EXEC)) == (PROT_READ | PROT_EXEC);
    // Shared code could be changed by somebody who is not frozen. The vdso has nothing for us.
    if (usable && !area.shared && !area.path.starts_with("[v")) code.push_back(&area);
  }
  std::stable_sort(code.begin(), code.end(),
                   [](const auto* a, const auto* b) { return preference(*a) < preference(*b); });
  for (const proc::Area* area : code) {
    search_area(*area, memory);
    if (gadgets_.complete()) return {};
  }
  return fail(
      EOPNOTSUPP,
      fmt::format("the code of process {} has no instructions with which questions could be "
                  "asked inside it safely (`syscall; ret` and a signal return)",
                  memory.pid()));
}

void CallSite::search_area(const proc::Area& area, const RemoteMemory& memory) {
  Bytes block(kBlock);
  constexpr u64 kStep = kBlock - arch::kLongestGadget + 1;
  for (u64 at = 0; at < area.length() && !gadgets_.complete(); at += kStep) {
    const ByteSpan part = ByteSpan(block).first(std::min(kBlock, area.length() - at));
    if (!memory.read(area.start + at, part).ok()) return;  // a hole in a truncated file
    arch::find_gadgets(part, area.start + at, gadgets_);
  }
}

const proc::Area* CallSite::area_of(RemoteAddr address) const {
  const auto found = std::find_if(areas_.begin(), areas_.end(), [address](const auto& area) {
    return area.start <= address && address < area.end;
  });
  return found == areas_.end() ? nullptr : &*found;
}

const proc::Area* CallSite::main_stack() const {
  const auto found = std::find_if(areas_.begin(), areas_.end(),
                                  [](const auto& area) { return area.path == "[stack]"; });
  return found == areas_.end() ? nullptr : &*found;
}

bool CallSite::is_own_stack(const proc::Area& area, const FrozenProcess& process,
                            const FrozenThread& thread) {
  if ((area.protection & PROT_WRITE) == 0 || area.shared) return false;
  if (area.path == "[stack]") return thread.tid == process.pid;
  const RemoteAddr tls = arch::thread_pointer(thread.registers);
  const bool anonymous = area.path.empty() || area.path.starts_with("[anon:stack");
  if (!anonymous || tls < area.start || tls >= area.end) return false;
  if (arch::stack_pointer(thread.registers) >= tls) return false;
  // The TLS of a C library begins with its own address (the ELF TLS ABI). Go's threads have theirs
  // in the heap, beside the stacks of goroutines, and it does not.
  const auto self = process.memory.read_object<u64>(tls);
  return self.ok() && *self == tls.value;
}

bool CallSite::grow(const proc::Area& area, const RemoteMemory& memory, RemoteAddr lowest) {
  constexpr u64 kFurthest = 128 * 1024;
  if (area.path != "[stack]" || lowest + kFurthest < area.start) return false;
  // Reading through /proc/PID/mem makes the area grow as an access of the program would, where
  // process_vm_readv does not; it is limited by the stack limit.
  return memory.read_object<u64>(lowest).ok();
}

Result<CallSite::Room> CallSite::room_for(const FrozenProcess& process, const FrozenThread& thread,
                                          u64 length) const {
  const RemoteAddr sp = arch::stack_pointer(thread.registers);
  const proc::Area* area = area_of(sp);
  const RemoteAddr lowest = sp - arch::kRedZone - length;
  if (area != nullptr && is_own_stack(*area, process, thread) &&
      (lowest >= area->start || grow(*area, process.memory, lowest))) {
    return Room{.lowest = lowest, .borrowed = false};
  }
  return borrow(process, thread, length);
}

Result<CallSite::Room> CallSite::borrow(const FrozenProcess& process, const FrozenThread& thread,
                                        u64 length) const {
  const auto nowhere = [&](std::string_view why) {
    return fail(
        EOPNOTSUPP,
        fmt::format("thread {} of process {} stands on a stack that is too full or is not one "
                    "known to be its own, and {}",
                    thread.tid, process.pid, why),
        "Try again a moment later.");
  };
  if (borrowed_) return fail(EBUSY, "another thread's calls have not been finished");
  const proc::Area* stack = main_stack();
  if (stack == nullptr) return nowhere("there is no main stack to borrow room on");
  const u64 needed = page_up(length + kBorrowDistance);
  if (TRY(is_spare(process, *stack, length, needed))) {
    return Room{.lowest = stack->start, .borrowed = true};
  }
  const RemoteAddr below = stack->start - needed;
  if (!grow(*stack, process.memory, below)) {
    return nowhere("the main stack's low end is in use and cannot be extended");
  }
  return Room{.lowest = below, .borrowed = true};
}

// Whether the lowest `needed` bytes of the main thread's stack are certainly nobody's.
Result<bool> CallSite::is_spare(const FrozenProcess& process, const proc::Area& stack, u64 length,
                                u64 needed) {
  if (stack.length() < needed) return false;
  const auto main = std::find_if(process.threads.begin(), process.threads.end(),
                                 [&](const auto& entry) { return entry.tid == process.pid; });
  if (main != process.threads.end() && !main->zombie) {
    const RemoteAddr sp = arch::stack_pointer(main->registers);
    if (sp >= stack.start && sp < stack.end) return sp - stack.start >= needed;
  }
  // The main thread is elsewhere (a goroutine): untouched memory is certainly free, and so is the
  // frame of a checkpointer that was killed.
  Bytes content(needed);
  TRY(process.memory.read(stack.start, content));
  const ByteView all = content;
  const ByteView rest = arch::holds_dead_frame(all, stack.start) ? all.subspan(length) : all;
  return std::all_of(rest.begin(), rest.end(), [](std::byte byte) { return byte == std::byte{}; });
}

}  // namespace stasis::trace
