// The address space of a process as an image holds it: its areas, the marks that PR_SET_MM_MAP
// sets, and which space of page contents belongs to it. Contents themselves are never here.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/types.h"
#include "model/field.h"

namespace stasis::model {

// Index into Image::resources, Image::open_files, Image::spaces.
using ResourceIndex = u32;
using OpenFileIndex = u32;
using SpaceIndex = u32;

// kGuard: pages behind MADV_GUARD_INSTALL; they have no contents and fault when touched.
enum class RunKind : u8 { kData, kZero, kGuard };

// A stretch of a space whose contents the image gives. Both numbers are multiples of the page size.
// In an anonymous area or a file's content what no run covers reads as zeros; in a private file
// area it is what the file holds.
struct Run {
  u64 offset = 0;  // in an address space: the address
  u64 length = 0;
  RunKind kind = RunKind::kData;

  bool operator==(const Run&) const = default;
  static constexpr auto fields() {
    return std::tuple{field("offset", &Run::offset), field("length", &Run::length),
                      field("kind", &Run::kind)};
  }
};

// Something with page contents: an address space, or the bytes of a file that the image carries
// (deleted file, memfd, shared anonymous memory). Runs are ascending and do not overlap.
struct Space {
  std::string label;  // for people: "memory of process 4711", "memfd:queue"
  u64 size = 0;       // bytes of the file's content; 0 for an address space
  std::vector<Run> runs;

  bool operator==(const Space&) const = default;
  static constexpr auto fields() {
    return std::tuple{field("label", &Space::label), field("size", &Space::size),
                      field("runs", &Space::runs)};
  }
};

enum class VmaKind : u8 { kAnonymous, kFile, kStack, kVdso, kVvar, kVsyscall };

// One line of /proc/PID/maps.
struct Vma {
  RemoteAddr start;
  RemoteAddr end;
  u32 protection = 0;  // PROT_*
  bool shared = false;
  VmaKind kind = VmaKind::kAnonymous;     // shared anonymous memory is kFile with a SharedMemory
  std::string name;                       // "[heap]", "[anon:name]", "[vvar_vclock]", or empty
  std::optional<ResourceIndex> resource;  // what a kFile area maps
  u64 offset = 0;                         // bytes into it
  std::vector<std::string> flags;         // two letters each, as VmFlags of smaps, sorted

  [[nodiscard]] u64 length() const { return end - start; }
  bool operator==(const Vma&) const = default;
  static constexpr auto fields() {
    return std::tuple{field("start", &Vma::start),
                      field("end", &Vma::end),
                      field("protection", &Vma::protection),
                      field("shared", &Vma::shared),
                      field("kind", &Vma::kind),
                      field("name", &Vma::name),
                      field("resource", &Vma::resource),
                      field("offset", &Vma::offset),
                      field("flags", &Vma::flags)};
  }
};

// The marks of struct prctl_mm_map (prctl(2), PR_SET_MM_MAP).
struct MemoryMarks {
  RemoteAddr start_code, end_code, start_data, end_data;
  RemoteAddr start_brk, brk, start_stack;
  RemoteAddr arg_start, arg_end, env_start, env_end;

  bool operator==(const MemoryMarks&) const = default;
  static constexpr auto fields() {
    return std::tuple{field("start_code", &MemoryMarks::start_code),
                      field("end_code", &MemoryMarks::end_code),
                      field("start_data", &MemoryMarks::start_data),
                      field("end_data", &MemoryMarks::end_data),
                      field("start_brk", &MemoryMarks::start_brk),
                      field("brk", &MemoryMarks::brk),
                      field("start_stack", &MemoryMarks::start_stack),
                      field("arg_start", &MemoryMarks::arg_start),
                      field("arg_end", &MemoryMarks::arg_end),
                      field("env_start", &MemoryMarks::env_start),
                      field("env_end", &MemoryMarks::env_end)};
  }
};

struct Memory {
  SpaceIndex space = 0;
  std::vector<Vma> vmas;  // ascending
  MemoryMarks marks;
  Bytes auxv;                 // as /proc/PID/auxv
  bool thp_disabled = false;  // prctl(PR_GET_THP_DISABLE)
  u32 thp_flags = 0;          // ... and PR_THP_DISABLE_EXCEPT_ADVISED with it
  u32 deny_gain = 0;          // PR_GET_MDWE
  bool merges = false;        // PR_GET_MEMORY_MERGE
  u32 barriers = 0;           // MEMBARRIER_CMD_GET_REGISTRATIONS
  std::optional<u32> coredump_filter;
  u64 lock_future = 0;  // flags of mlockall(2) that cover future areas; 0 if none

  bool operator==(const Memory&) const = default;
  static constexpr auto fields() {
    return std::tuple{field("space", &Memory::space),
                      field("vmas", &Memory::vmas),
                      field("marks", &Memory::marks),
                      field("auxv", &Memory::auxv),
                      field("thp_disabled", &Memory::thp_disabled),
                      optional_field("thp_flags", &Memory::thp_flags),
                      optional_field("deny_gain", &Memory::deny_gain),
                      optional_field("merges", &Memory::merges),
                      optional_field("barriers", &Memory::barriers),
                      optional_field("coredump_filter", &Memory::coredump_filter),
                      field("lock_future", &Memory::lock_future)};
  }
};

}  // namespace stasis::model
