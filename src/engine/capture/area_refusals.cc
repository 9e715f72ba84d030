// Areas that cannot be saved or made again, each named with its reason. Learnt from smaps (and, for
// files below /dev, from what the path leads to): nothing of the process is touched. Marks of areas
// have their rules in model/vm_flags.cc.
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <array>
#include <set>

#include "base/sys.h"
#include "capture/areas.h"
#include "model/vm_flags.h"

namespace stasis::capture {
namespace {

struct Reason {
  std::string_view mark;  // beginning of the path
  std::string_view reason;
  std::string_view advice = {};
};

// The kernel's names for memory that has no file behind it that could be opened again.
constexpr std::array kByPath = {
    Reason{"/SYSV", "System V shared memory cannot be saved yet",
           "start it with a setting for POSIX or mapped shared memory, if it has one"},
    Reason{"/[aio]", "an asynchronous I/O context (io_setup) cannot be saved yet"},
    Reason{"anon_inode:[io_uring]", "rings of io_uring cannot be saved yet",
           "programs mostly have a switch for another backend (UV_USE_IO_URING=0 for node)"},
    Reason{"anon_inode:[perf_event]", "buffers of performance counters cannot be saved"},
    Reason{"anon_inode:", "memory shared with this kernel object cannot be saved"},
    Reason{"socket:", "packet rings and zero-copy memory of sockets cannot be saved"},
    Reason{"/secretmem", "secret memory (memfd_secret) cannot be read, by design"},
    Reason{"/drm mm object", "memory of a graphics card cannot be saved"},
    Reason{"/i915", "memory of a graphics card cannot be saved"},
    Reason{"/dmabuf:", "memory shared with a device (dma-buf) cannot be saved"},
    Reason{"/anon_hugepage", "huge pages of hugetlbfs cannot be saved yet",
           "start it with its huge pages switched off, if it can; transparent ones can be saved"},
    Reason{"[uprobes]", "the process is being traced by uprobes (perf, bpftrace)",
           "try again when that has ended"},
};

bool is_known_name(const proc::Area& area) {
  return !area.path.starts_with('[') || area.path == "[heap]" || area.path == "[stack]" ||
         area.path.starts_with("[anon:") || area.path.starts_with("[anon_shmem:");
}

// Character devices that give plain memory show as /dev/zero; any other does as its driver likes.
bool is_device(const proc::Area& area) {
  if (!area.path.starts_with("/dev/") || area.path == "/dev/zero") return false;
  const auto status = sys::stat(area.path);
  return status.ok() && (S_ISCHR(status->st_mode) || S_ISBLK(status->st_mode));
}

std::optional<Reason> obstacle(const proc::Area& area) {
  if (is_kernels_own(area)) return std::nullopt;  // they carry flags of device memory
  for (const Reason& reason : kByPath) {
    if (area.path.starts_with(reason.mark)) return reason;
  }
  if (is_device(area)) return Reason{{}, "it is memory of a device, not the program's own"};
  for (const std::string& letters : area.flags) {
    const model::VmFlag* flag = model::find_vm_flag(letters);
    if (flag == nullptr || flag->rule != model::VmFlagRule::kRefused) continue;
    return Reason{{}, flag->what, flag->advice};
  }
  // Memory that can only be executed gets a key by the kernel's own doing (pkeys(7)).
  if (area.protection_key != 0 && area.protection != PROT_EXEC) {
    return Reason{{}, "it has a protection key (pkey_mprotect), which cannot be saved yet"};
  }
  if (!is_known_name(area)) return Reason{{}, "this kind of memory is not known"};
  return std::nullopt;
}

}  // namespace

std::vector<Refusal> area_refusals(Pid pid, const std::vector<proc::Area>& areas) {
  std::vector<Refusal> refusals;
  for (const proc::Area& area : areas) {
    const auto reason = obstacle(area);
    if (!reason) continue;
    const std::string name = area.path.empty() ? "" : fmt::format(" ({})", area.path);
    refusals.push_back({.subject = fmt::format("memory at {:#x}-{:#x} of process {}{}",
                                               area.start.value, area.end.value, pid, name),
                        .reason = std::string(reason->reason),
                        .advice = std::string(reason->advice)});
  }
  return refusals;
}

std::vector<std::string> area_notes(Pid pid, const std::vector<proc::Area>& areas) {
  std::vector<std::string> notes;
  std::set<std::string> told;
  for (const proc::Area& area : areas) {
    if (is_kernels_own(area)) continue;
    for (const std::string& letters : area.flags) {
      if (model::find_vm_flag(letters) != nullptr || !told.insert(letters).second) continue;
      notes.push_back(fmt::format(
          "memory at {:#x}-{:#x} of process {}, perhaps more, has the mark \"{}\" (VmFlags), which "
          "is not known and will not be restored",
          area.start.value, area.end.value, pid, letters));
    }
  }
  return notes;
}

}  // namespace stasis::capture
