// Areas as mmap(2), mremap(2), madvise(2) and friends. Protection is final at once where nothing
// has to be written, so that reserved address space is never charged.
#include "restart/memory_plan.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "restart/memory_flags.h"

namespace stasis::restart {
namespace {

using trace::Script;

constexpr u32 kReadWrite = PROT_READ | PROT_WRITE;
constexpr u64 kAnyFd = ~u64{0};

bool is_shared_memory(const model::Image& image, const model::Vma& vma) {
  return vma.resource &&
         std::holds_alternative<model::SharedMemory>(image.resources[*vma.resource]);
}

bool is_private(const model::Vma& vma) {
  return !vma.shared && (vma.kind == model::VmaKind::kAnonymous ||
                         vma.kind == model::VmaKind::kStack || vma.kind == model::VmaKind::kFile);
}

bool overlaps(const model::Vma& vma, const model::Run& run) {
  return run.offset < vma.end.value && vma.start.value < run.offset + run.length;
}

u64 map_flags(const MemoryPlan& plan, const model::Vma& vma) {
  if (has_flag(vma, "dp") && plan.droppable_known) {
    return u64{MAP_FIXED_NOREPLACE} | kMapDroppable | MAP_ANONYMOUS;
  }
  u64 flags = MAP_FIXED_NOREPLACE | (vma.shared ? MAP_SHARED : MAP_PRIVATE);
  if (!vma.resource) flags |= MAP_ANONYMOUS;
  if (has_flag(vma, "nr")) flags |= MAP_NORESERVE;
  if (has_flag(vma, "gd") || vma.kind == model::VmaKind::kStack) flags |= MAP_GROWSDOWN;
  if (has_flag(vma, "ht") && !vma.resource) flags |= MAP_HUGETLB;
  return flags;
}

void add_shared_piece(const MemoryPlan& plan, const model::Vma& vma, Script& script) {
  // An old size of 0 makes a second mapping of the same pages: mremap(2).
  const RemoteAddr from = plan.shared_homes.at(*vma.resource) + vma.offset;
  const std::string what = describe_area(plan.image, vma);
  script.expect(
      "map " + what, static_cast<i64>(vma.start.value), SYS_mremap,
      {from.value, u64{0}, vma.length(), u64{MREMAP_MAYMOVE | MREMAP_FIXED}, vma.start.value});
  if (vma.protection != kReadWrite) {
    script.call("protect " + what, SYS_mprotect,
                {vma.start.value, vma.length(), u64{vma.protection}});
  }
}

Result<void> add_area(const MemoryPlan& plan, const model::Vma& vma, Script& script) {
  if (is_shared_memory(plan.image, vma)) {
    add_shared_piece(plan, vma, script);
    return {};
  }
  const u64 fd = vma.resource ? static_cast<u64>(TRY(plan.descriptor(vma))) : kAnyFd;
  const u64 protection = plan.needs_writing(vma) ? vma.protection | kReadWrite : vma.protection;
  script.expect("map " + describe_area(plan.image, vma), static_cast<i64>(vma.start.value),
                SYS_mmap,
                {vma.start.value, vma.length(), protection, map_flags(plan, vma), fd, vma.offset});
  return {};
}

void add_guards(const MemoryPlan& plan, Script& script) {
  for (const model::Run& run : plan.runs()) {
    if (run.kind != model::RunKind::kGuard) continue;
    script.call(fmt::format("guard {:#x}-{:#x}", run.offset, run.offset + run.length), SYS_madvise,
                {run.offset, run.length, u64{kMadvGuardInstall}});
  }
}

}  // namespace

bool has_flag(const model::Vma& vma, std::string_view flag) {
  return std::find(vma.flags.begin(), vma.flags.end(), flag) != vma.flags.end();
}

std::string describe_area(const model::Image& image, const model::Vma& vma) {
  std::string name = vma.name.empty() ? "memory" : vma.name;
  if (vma.resource) {
    const model::Resource& resource = image.resources[*vma.resource];
    if (const auto* file = std::get_if<model::RegularFile>(&resource)) name = file->path;
    if (const auto* memfd = std::get_if<model::Memfd>(&resource)) name = "memfd:" + memfd->name;
    if (std::holds_alternative<model::SharedMemory>(resource)) name = "shared memory";
  }
  return fmt::format("{} {:#x}-{:#x}", name, vma.start.value, vma.end.value);
}

bool MemoryPlan::is_ours(const model::Vma& vma) const {
  return vma.kind == model::VmaKind::kAnonymous || vma.kind == model::VmaKind::kStack ||
         vma.kind == model::VmaKind::kFile;
}

std::span<const model::Run> MemoryPlan::runs() const {
  return image.spaces[process.memory.space].runs;
}

bool MemoryPlan::needs_writing(const model::Vma& vma) const {
  if (!is_private(vma) || has_flag(vma, "dp") || (vma.protection & kReadWrite) == kReadWrite)
    return false;
  const auto all = runs();
  const auto first = std::partition_point(all.begin(), all.end(), [&](const model::Run& run) {
    return run.offset + run.length <= vma.start.value;
  });
  const bool file = vma.kind == model::VmaKind::kFile;
  return std::any_of(
      first,
      std::partition_point(first, all.end(),
                           [&](const model::Run& run) { return run.offset < vma.end.value; }),
      [&](const model::Run& run) {
        return overlaps(vma, run) &&
               (run.kind == model::RunKind::kData || (run.kind == model::RunKind::kZero && file));
      });
}

Script shared_script(const model::Image& image,
                     const std::map<model::ResourceIndex, RemoteAddr>& homes) {
  std::map<model::ResourceIndex, u64> reserve;
  for (const model::Process& process : image.processes) {
    for (const model::Vma& vma : process.memory.vmas) {
      if (vma.resource && has_flag(vma, "nr")) reserve[*vma.resource] = MAP_NORESERVE;
    }
  }
  Script script;
  for (const auto& [resource, start] : homes) {
    const u64 size = page_up(std::get<model::SharedMemory>(image.resources[resource]).size);
    if (size == 0) continue;
    script.expect(fmt::format("map {} bytes of shared memory", size), static_cast<i64>(start.value),
                  SYS_mmap,
                  {start.value, size, u64{kReadWrite},
                   u64{MAP_FIXED_NOREPLACE | MAP_SHARED | MAP_ANONYMOUS} | reserve[resource],
                   kAnyFd, u64{0}});
  }
  return script;
}

Script drop_shared_script(const model::Image& image,
                          const std::map<model::ResourceIndex, RemoteAddr>& homes) {
  Script script;
  for (const auto& [resource, start] : homes) {
    const u64 size = page_up(std::get<model::SharedMemory>(image.resources[resource]).size);
    if (size == 0) continue;
    script.call("unmap shared memory", SYS_munmap, {start.value, size});
  }
  return script;
}

Result<Script> areas_script(const MemoryPlan& plan) {
  Script script;
  if (plan.process.memory.thp_disabled) {
    script.call("switch huge pages off", SYS_prctl,
                {u64{PR_SET_THP_DISABLE}, u64{1}, u64{0}, u64{0}, u64{0}});
  }
  for (const model::Vma& vma : plan.process.memory.vmas) {
    if (!plan.is_ours(vma)) continue;
    TRY(add_area(plan, vma, script));
    add_advice(describe_area(plan.image, vma), vma, script);
  }
  return script;
}

Script settle_areas_script(const MemoryPlan& plan) {
  Script script;
  for (const model::Vma& vma : plan.process.memory.vmas) {
    if (!plan.is_ours(vma)) continue;
    const std::string what = describe_area(plan.image, vma);
    if (plan.needs_writing(vma)) {
      script.call("protect " + what, SYS_mprotect,
                  {vma.start.value, vma.length(), u64{vma.protection}});
    }
    add_name(vma, script);
  }
  add_guards(plan, script);
  add_locks(plan.image, plan.process, script);
  for (const model::Vma& vma : plan.process.memory.vmas) {
    if (!plan.is_ours(vma) || !has_flag(vma, "sl")) continue;
    script.call("seal " + describe_area(plan.image, vma), kSysMseal,
                {vma.start.value, vma.length(), u64{0}});
  }
  return script;
}

namespace {

struct Move {
  RemoteAddr from, to;
  u64 length;
  std::string name;
};

bool is_vdso_name(std::string_view name) {
  return name == "[vdso]" || name.substr(0, 5) == "[vvar";
}

Result<std::vector<Move>> moves_to_image(const std::vector<proc::Area>& now,
                                         const model::Memory& memory) {
  std::vector<Move> moves;
  for (const proc::Area& area : now) {
    if (!is_vdso_name(area.path)) continue;
    const auto same = [&](const model::Vma& vma) {
      return vma.name == area.path && vma.length() == area.length();
    };
    const auto home = std::find_if(memory.vmas.begin(), memory.vmas.end(), same);
    if (home == memory.vmas.end()) {
      return fail(EXDEV, fmt::format("the image has no {} of {} bytes", area.path, area.length()));
    }
    moves.push_back({area.start, home->start, area.length(), area.path});
  }
  return moves;
}

std::vector<Move> moves_to(RemoteAddr home, const std::vector<proc::Area>& now) {
  std::vector<Move> moves;
  std::optional<RemoteAddr> first;
  for (const proc::Area& area : now) {
    if (!is_vdso_name(area.path)) continue;
    if (!first) first = area.start;
    moves.push_back({area.start, home + (area.start - *first), area.length(), area.path});
  }
  return moves;
}

}  // namespace

Result<Script> vdso_script(const std::vector<proc::Area>& now, const model::Memory& memory,
                           std::optional<RemoteAddr> foreign_home) {
  const std::vector<Move> moves =
      foreign_home ? moves_to(*foreign_home, now) : TRY(moves_to_image(now, memory));
  Script script;
  for (const Move& move : moves) {
    script.expect(fmt::format("move {} to {:#x}", move.name, move.to.value),
                  static_cast<i64>(move.to.value), SYS_mremap,
                  {move.from.value, move.length, move.length, u64{MREMAP_MAYMOVE | MREMAP_FIXED},
                   move.to.value});
  }
  return script;
}

Bytes marks_block(const model::Memory& memory, RemoteAddr at) {
  // struct prctl_mm_map of linux/prctl.h; an exe_fd of -1 leaves the executable alone, which needs
  // no privilege.
  struct Block {
    std::array<u64, 11> marks;
    u64 auxv;
    u32 auxv_size;
    u32 exe_fd;
  };
  const model::MemoryMarks& m = memory.marks;
  const Block block = {{m.start_code.value, m.end_code.value, m.start_data.value, m.end_data.value,
                        m.start_brk.value, m.brk.value, m.start_stack.value, m.arg_start.value,
                        m.arg_end.value, m.env_start.value, m.env_end.value},
                       at.value + sizeof(Block),
                       static_cast<u32>(memory.auxv.size()),
                       ~u32{0}};
  Bytes bytes(sizeof block + memory.auxv.size());
  std::memcpy(bytes.data(), &block, sizeof block);
  if (!memory.auxv.empty()) {
    std::memcpy(bytes.data() + sizeof block, memory.auxv.data(), memory.auxv.size());
  }
  return bytes;
}

Script marks_script(RemoteAddr block) {
  constexpr u64 kSize = 13 * sizeof(u64);
  Script script;
  script.call("set the marks of the address space", SYS_prctl,
              {u64{PR_SET_MM}, u64{PR_SET_MM_MAP}, block.value, kSize, u64{0}});
  return script;
}

}  // namespace stasis::restart
