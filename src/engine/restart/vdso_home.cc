// Comparing, moving and redirecting the vdso of a target.
#include "restart/vdso_home.h"

#include <fmt/format.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "arch/registers.h"
#include "arch/vdso.h"
#include "proc/maps.h"
#include "restart/layout.h"
#include "restart/memory_plan.h"

namespace stasis::restart {
namespace {

const model::Vma* saved_vdso(const model::Memory& memory) {
  const auto found = std::find_if(memory.vmas.begin(), memory.vmas.end(), [](const auto& vma) {
    return vma.kind == model::VmaKind::kVdso;
  });
  return found == memory.vmas.end() ? nullptr : &*found;
}

std::optional<proc::Area> area_named(const std::vector<proc::Area>& areas, std::string_view name) {
  for (const proc::Area& area : areas) {
    if (area.path == name) return area;
  }
  return std::nullopt;
}

void inside_vdso(const model::Process& process, std::vector<Refusal>& refusals) {
  const model::Vma* vdso = saved_vdso(process.memory);
  for (const model::Thread& thread : process.threads) {
    const auto registers = arch::from_bytes(thread.registers.general);
    if (thread.zombie || !registers || vdso == nullptr) continue;
    const RemoteAddr at = arch::instruction_pointer(*registers);
    if (at < vdso->start || at >= vdso->end) continue;
    refusals.push_back({fmt::format("thread {} of process {}", thread.tid, process.pid),
                        "it was inside the vdso of a kernel that is not this one",
                        "restart it under the kernel it was saved under"});
  }
}

// Old vdso's bytes as memory at its home; this kernel's lies at `home`.
Result<void> redirect(BuildState& state, size_t index, const std::vector<proc::Area>& areas,
                      RemoteAddr home) {
  const model::Vma* saved = saved_vdso(state.process(index).memory);
  if (saved == nullptr) return {};
  const Bytes own = own_vdso();
  const u64 own_offset = area_named(areas, "[vdso]")->start - areas.front().start;
  const Bytes code =
      TRY(arch::redirect_vdso(state.context.image.origin.vdso, own, home + own_offset));
  trace::Script map;
  map.expect("map the old vdso's place", static_cast<i64>(saved->start.value), SYS_mmap,
             {saved->start.value, saved->length(), u64{PROT_READ | PROT_WRITE},
              u64{MAP_FIXED_NOREPLACE | MAP_PRIVATE | MAP_ANONYMOUS}, ~u64{0}, u64{0}});
  Target& target = state.targets[index];
  (void)TRY(target.run(map));
  TRY(target.memory().write(saved->start,
                            ByteView(code).first(std::min<u64>(code.size(), saved->length()))));
  trace::Script protect;
  protect.call("protect the old vdso's place", SYS_mprotect,
               {saved->start.value, saved->length(), u64{PROT_READ | PROT_EXEC}});
  // As the vdso itself would look to whoever asks whether everything is locked.
  if (state.process(index).memory.lock_future != 0) {
    protect.attempt("lock the old vdso's place", SYS_mlock, {saved->start.value, saved->length()});
  }
  (void)TRY(target.run(protect));
  return {};
}

std::vector<proc::Area> vdso_areas(std::vector<proc::Area> areas) {
  std::erase_if(areas, [](const proc::Area& area) {
    return area.path != "[vdso]" && area.path.rfind("[vvar", 0) != 0;
  });
  return areas;
}

}  // namespace

Bytes own_vdso() {
  const auto maps = proc::read_maps(::getpid());
  const auto area = maps ? area_named(*maps, "[vdso]") : std::nullopt;
  if (!area) return {};
  Bytes bytes(area->length());
  std::memcpy(bytes.data(), reinterpret_cast<const void*>(area->start.value), bytes.size());
  return bytes;
}

Result<bool> vdso_is_sealed() {
  const auto area = area_named(TRY(proc::read_smaps(::getpid())), "[vdso]");
  return area && area->has_flag("sl");
}

bool same_vdso(ByteView image, ByteView own) {
  return std::equal(image.begin(), image.end(), own.begin(), own.end());
}

std::vector<Refusal> vdso_obstacles(const model::Image& image, ByteView own) {
  std::vector<Refusal> refusals;
  if (image.origin.vdso.empty() || same_vdso(image.origin.vdso, own)) return refusals;
  const auto redirected = arch::redirect_vdso(image.origin.vdso, own, kLowestAddress);
  if (!redirected) {
    refusals.push_back({fmt::format("the vdso of kernel {}", image.origin.kernel_release),
                        redirected.error().what, "restart it under the kernel it was saved under"});
  }
  for (const model::Process& process : image.processes) inside_vdso(process, refusals);
  return refusals;
}

Result<void> settle_vdso(BuildState& state, size_t process) {
  Target& target = state.targets[process];
  const auto areas = vdso_areas(TRY(proc::read_maps(target.pid())));
  if (areas.empty()) return {};
  const model::Image& image = state.context.image;
  const model::Memory& memory = state.process(process).memory;
  if (same_vdso(image.origin.vdso, own_vdso())) {
    if (auto script = vdso_script(areas, memory, std::nullopt)) {
      (void)TRY(target.run(*script));
      return {};
    }
  }
  // Another kernel's, or none at all in this process: this kernel's vdso needs a place of its own.
  const u64 length = areas.back().end - areas.front().start;
  const RemoteAddr home = TRY(foreign_vdso_home(image, target.scratch(), length));
  (void)TRY(target.run(TRY(vdso_script(areas, memory, home))));
  return redirect(state, process, areas, home);
}

Result<RemoteAddr> lasting_call_instruction(Target& target) {
  const auto area = area_named(TRY(proc::read_maps(target.pid())), "[vdso]");
  if (!area) return fail(ENOTSUP, "this kernel gives processes no vdso");
  Bytes code(area->length());
  TRY(target.memory().read(area->start, code));
  const RemoteAddr call = arch::find_call(code, area->start);
  if (!call) return fail(ENOTSUP, "this kernel's vdso makes no system call");
  return call;
}

}  // namespace stasis::restart
