// First the few calls that make the scratch area, driven by ptrace stops at a system call
// instruction of the vdso; then one script for the rest. Decides nothing about the image.
#include "restart/empty.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <algorithm>
#include <string_view>

#include "arch/registers.h"
#include "base/sys.h"
#include "proc/maps.h"
#include "stub/stub.h"
#include "trace/ptrace.h"

namespace stasis::restart {
namespace {

constexpr u64 kRseqUnregister = 1;    // RSEQ_FLAG_UNREGISTER
constexpr u64 kRobustListHead = 24;   // sizeof(struct robust_list_head)
constexpr u32 kNoAlternateStack = 2;  // SS_DISABLE

bool is_kernels(const proc::Area& area) {  // [vdso], [vvar], [vvar_vclock]
  return area.path.starts_with("[vdso") || area.path.starts_with("[vvar");
}

// The system call instruction that calls are made at, before there is a stub: in the vdso.
Result<RemoteAddr> find_vdso_call(const trace::RemoteMemory& memory, const proc::Area& vdso) {
  Bytes code(vdso.length());
  TRY(memory.read(vdso.start, code));
  const RemoteAddr found = arch::find_call(code, vdso.start);
  if (!found) return fail(EOPNOTSUPP, "this kernel's vdso has no system call instruction");
  return found;
}

Result<void> must(Result<i64> answer, std::string_view verb, std::string_view subject) {
  const i64 value = TRY(std::move(answer));
  if (value < 0 && value >= -4095) return sys::error_of(static_cast<int>(value), verb, subject);
  return {};
}

// Moves the kernel's areas to the room for them, keeping their distances (the vdso finds its data
// relative to itself), the vdso last as we execute in it. Returns where it can be called then.
Result<RemoteAddr> move_vdso(Target& target, const std::vector<proc::Area>& areas) {
  std::vector<proc::Area> kernels;
  std::copy_if(areas.begin(), areas.end(), std::back_inserter(kernels), is_kernels);
  const auto vdso = std::find_if(kernels.begin(), kernels.end(), [](const proc::Area& area) {
    return area.path.starts_with("[vdso");
  });
  if (vdso == kernels.end()) return fail(EOPNOTSUPP, "this kernel gives processes no vdso");
  const RemoteAddr from = kernels.front().start;
  const RemoteAddr to = target.scratch().vdso_room();
  if (kernels.back().end - from > Scratch::kVdsoRoom) {
    return fail(EOPNOTSUPP, "this kernel's vdso areas are larger than the room kept for them");
  }
  const RemoteAddr call = TRY(find_vdso_call(target.memory(), *vdso));
  std::rotate(vdso, vdso + 1, kernels.end());
  for (const proc::Area& area : kernels) {
    TRY(must(target.bare_call(target.pid(), call, SYS_mremap,
                              {area.start.value, area.length(), area.length(),
                               MREMAP_MAYMOVE | MREMAP_FIXED, (to + (area.start - from)).value}),
             "move", area.path));
  }
  return to + (call - from);
}

// MAP_FIXED: what may lie there (the executed program's) goes away in any case.
Result<void> make_scratch(Target& target, RemoteAddr call) {
  const Scratch scratch = target.scratch();
  const Pid pid = target.pid();
  TRY(must(target.bare_call(
               pid, call, SYS_mmap,
               {scratch.start.value, scratch.length - Scratch::kVdsoRoom, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, ~u64{0}, 0}),
           "map", "the scratch area"));
  TRY(target.memory().write(scratch.start, stub::code()));
  return must(target.bare_call(pid, call, SYS_mprotect,
                               {scratch.start.value, kPageSize, PROT_READ | PROT_EXEC}),
              "make executable", "the stub");
}

// Everything below and above scratch, and what a thread of the C library has registered: only a
// copy of us has that, but asking is dearer than doing.
trace::Script clear_script(const std::vector<proc::Area>& areas, Scratch scratch,
                           const std::optional<trace::RseqConfiguration>& rseq) {
  trace::Script script;
  if (rseq) {
    script.call("unregister rseq", SYS_rseq,
                {rseq->address.value, u64{rseq->size}, kRseqUnregister, u64{rseq->signature}});
  }
  script.call("clear the robust list", SYS_set_robust_list, {u64{0}, kRobustListHead});
  script.call("clear the tid address", SYS_set_tid_address, {u64{0}});
  const stack_t none = {.ss_sp = nullptr, .ss_flags = kNoAlternateStack, .ss_size = 0};
  script.call("clear the signal stack", SYS_sigaltstack, {script.object(none), u64{0}});
  const RemoteAddr end = scratch.start + scratch.length;
  RemoteAddr top = end;
  RemoteAddr bottom = scratch.start;
  for (const proc::Area& area : areas) {
    if (area.path == "[vsyscall]" || is_kernels(area)) continue;
    bottom = std::min(bottom, area.start);
    top = std::max(top, area.end);
  }
  if (bottom < scratch.start) {
    script.call("unmap below scratch", SYS_munmap, {bottom.value, scratch.start - bottom});
  }
  if (top > end) script.call("unmap above scratch", SYS_munmap, {end.value, top - end});
  return script;
}

}  // namespace

Result<Target> empty_process(Pid pid, Scratch scratch) {
  const std::vector<proc::Area> areas = TRY(proc::read_maps(pid));
  const auto rseq = TRY(trace::get_rseq(pid));
  Target target(pid, scratch, TRY(trace::RemoteMemory::open(pid)));
  const RemoteAddr call = TRY(move_vdso(target, areas));
  TRY(make_scratch(target, call));
  TRY(target.run(clear_script(areas, scratch, rseq)).context("while emptying a new process"));
  return target;
}

}  // namespace stasis::restart
