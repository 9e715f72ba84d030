// Looks at stopped threads and puts right what must not be saved as it is.
// Essay: docs/design/freezing.md.
#include "trace/settle.h"

#include <array>

#include "arch/call_class.h"
#include "arch/gadgets.h"
#include "arch/signal_frame.h"

namespace stasis::trace {
namespace {

// struct rseq_cs of <linux/rseq.h>.
struct CriticalSection {
  u32 version = 0, flags = 0;
  u64 start = 0, length = 0, abort = 0;
};
constexpr u64 kRseqPointerOffset = 8;  // rseq_cs in struct rseq

// The bytes around the instruction pointer, kLongestGadget on both sides.
bool is_at_gadget(const RemoteMemory& memory, RemoteAddr at) {
  std::array<std::byte, 2 * arch::kLongestGadget> code = {};
  if (at.value < arch::kLongestGadget) return false;
  return memory.read(at - arch::kLongestGadget, code).ok() && arch::is_within_gadget(code);
}

}  // namespace

bool is_leftover(const HeldThread& thread, const RemoteMemory& memory) {
  const RemoteAddr sp = arch::stack_pointer(thread.registers);
  if (arch::call_number(thread.registers) >= 0 && arch::is_interrupted(thread.registers)) {
    return false;  // our calls do not sleep
  }
  std::array<std::byte, arch::kLeftoverBytes> stack = {};
  if (sp.value < arch::kLeftoverBelow) return false;
  // Where the memory ends sooner there is no frame either.
  if (!memory.read(sp - arch::kLeftoverBelow, stack).ok()) return false;
  // The mark outlives its frame as dead bytes of the stack; with the code it is sure.
  return arch::stands_on_frame(stack, sp, thread.tid) &&
         is_at_gadget(memory, arch::instruction_pointer(thread.registers));
}

Result<void> abort_rseq(HeldThread& thread, const RemoteMemory& memory) {
  if (arch::call_number(thread.registers) >= 0) return {};  // calls are not allowed inside
  const auto area = TRY(get_rseq(thread.tid));
  if (!area) return {};
  const RemoteAddr pointer = area->address + kRseqPointerOffset;
  const auto section_at = memory.read_object<u64>(pointer);
  if (!section_at || *section_at == 0) return {};
  const auto section = memory.read_object<CriticalSection>({*section_at});
  if (!section) return {};  // the kernel would kill it; not our business
  const u64 into = arch::instruction_pointer(thread.registers).value - section->start;
  if (into >= section->length) return {};
  arch::set_instruction_pointer(thread.registers, {section->abort});
  TRY(set_registers(thread.tid, thread.registers));
  // Outside of the section the pointer means nothing any more, so that the order is safe.
  return memory.write_object<u64>(pointer, 0);
}

Result<FrozenThread> describe(const HeldThread& thread, const RemoteMemory& memory) {
  FrozenThread frozen;
  frozen.tid = thread.tid;
  frozen.zombie = thread.phase == HeldThread::Phase::kZombie;
  if (frozen.zombie) return frozen;
  frozen.registers = thread.registers;
  frozen.blocked_signals = TRY(get_signal_mask(thread.tid));
  if (arch::is_interrupted(thread.registers)) {
    std::array<std::byte, arch::kCodeBefore> code = {};
    const auto read =
        memory.read(arch::instruction_pointer(thread.registers) - arch::kCodeBefore, code);
    frozen.interrupted_call = arch::interrupted_call(
        thread.registers, read.ok() ? ByteView(code) : ByteView(), thread.channel);
    frozen.remaining_ns = time_left(thread.pid, thread.tid, memory, thread.registers,
                                    frozen.interrupted_call, thread.sleep, thread.stopped_ns);
  }
  return frozen;
}

}  // namespace stasis::trace
