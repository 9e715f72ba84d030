// The marks that are asked for again. What becomes of every letter is told in model/vm_flags.cc.
#include "restart/memory_flags.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <set>

#include "model/vm_flags.h"
#include "restart/memory_plan.h"

namespace stasis::restart {
namespace {

struct Advice {
  std::string_view flag;
  int advice;
  std::string_view name;
};
constexpr Advice kAdvice[] = {
    {"hg", MADV_HUGEPAGE, "ask for huge pages in"},
    {"nh", MADV_NOHUGEPAGE, "refuse huge pages in"},
    {"dd", MADV_DONTDUMP, "keep out of core dumps"},
    {"dc", MADV_DONTFORK, "keep from children"},
    {"wf", MADV_WIPEONFORK, "wipe in children"},
    {"mg", MADV_MERGEABLE, "allow merging of"},
    {"sr", MADV_SEQUENTIAL, "announce sequential reading of"},
    {"rr", MADV_RANDOM, "announce random reading of"},
};

constexpr u64 kPrSetVma = 0x53564d41;
constexpr std::string_view kNamePrefix = "[anon:";
constexpr std::string_view kSharedNamePrefix = "[anon_shmem:";
constexpr u64 kLockOnFault = 1;  // MLOCK_ONFAULT

}  // namespace

void add_advice(const std::string& what, const model::Vma& vma, trace::Script& script) {
  for (const Advice& advice : kAdvice) {
    if (!has_flag(vma, advice.flag)) continue;
    // Huge page areas are kept out of dumps or expansion by the kernel itself.
    if (has_flag(vma, "ht") && advice.advice != MADV_DONTFORK) continue;
    script.call(fmt::format("{} {}", advice.name, what), SYS_madvise,
                {vma.start.value, vma.length(), static_cast<u64>(advice.advice)});
  }
}

void add_name(const model::Vma& vma, trace::Script& script) {
  std::string_view name = vma.name;
  for (const std::string_view prefix : {kNamePrefix, kSharedNamePrefix}) {
    if (name.substr(0, prefix.size()) != prefix || name.back() != ']') continue;
    name = name.substr(prefix.size(), name.size() - prefix.size() - 1);
    const trace::DataRef text = script.text(name);
    script.attempt(fmt::format("name memory \"{}\"", name), SYS_prctl,
                   {kPrSetVma, u64{0}, vma.start.value, vma.length(), text});
    return;
  }
}

u64 locked_bytes(const model::Process& process) {
  u64 bytes = 0;
  for (const model::Vma& vma : process.memory.vmas) {
    if (has_flag(vma, "lo") && !has_flag(vma, "io")) bytes += vma.length();
  }
  return bytes;
}

void add_locks(const model::Image& image, const model::Process& process, trace::Script& script) {
  const model::Memory& memory = process.memory;
  for (const model::Vma& vma : memory.vmas) {
    if (!has_flag(vma, "lo") || has_flag(vma, "io")) continue;
    script.call("lock " + describe_area(image, vma), SYS_mlock2,
                {vma.start.value, vma.length(), has_flag(vma, "lf") ? kLockOnFault : u64{0}});
  }
  if (memory.lock_future != 0) {
    script.call("lock future memory", SYS_mlockall, {memory.lock_future});
  }
}

std::vector<std::string> unsupported_flags(const model::Vma& vma) {
  std::vector<std::string> reasons;
  for (const std::string& letters : vma.flags) {
    const model::VmFlag* flag = model::find_vm_flag(letters);
    if (flag == nullptr || flag->rule != model::VmFlagRule::kRefused) continue;
    reasons.emplace_back(flag->what);
  }
  return reasons;
}

bool kernel_knows_droppable() {
  constexpr size_t kLength = 4096;
  void* probe = ::mmap(nullptr, kLength, PROT_READ, kMapDroppable | MAP_ANONYMOUS, -1, 0);
  if (probe == MAP_FAILED) return false;
  (void)::munmap(probe, kLength);  // it is a mapping of ours
  return true;
}

std::vector<std::string> lost_marks(const model::Image& image, const model::Process& process,
                                    bool droppable_known) {
  std::vector<std::string> notes;
  std::set<std::string> told;
  for (const model::Vma& vma : process.memory.vmas) {
    if (vma.kind == model::VmaKind::kVdso || vma.kind == model::VmaKind::kVvar ||
        vma.kind == model::VmaKind::kVsyscall) {
      continue;
    }
    for (const std::string& letters : vma.flags) {
      std::string why;
      if (model::find_vm_flag(letters) == nullptr) why = "is not known and was not restored";
      if (letters == "dp" && !droppable_known) {
        why =
            "(MAP_DROPPABLE) is unknown to this kernel: it is plain memory now, empty all the "
            "same";
      }
      if (why.empty() || !told.insert(letters).second) continue;
      notes.push_back(fmt::format("process {}: the mark \"{}\" of {} {}", process.pid, letters,
                                  describe_area(image, vma), why));
    }
  }
  return notes;
}

}  // namespace stasis::restart
