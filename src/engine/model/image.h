// model::Image: everything a checkpoint knows but page contents. Captured from frozen processes,
// written to and read from a context file, planned from, printed, and compared: one description for
// all. It follows the kernel's three levels, so that sharing is represented and not guessed:
// Process.descriptors[n] -> OpenFile -> Resource.
#pragma once

#include <string>
#include <vector>

#include "base/types.h"
#include "model/field.h"
#include "model/memory.h"
#include "model/process.h"
#include "model/resource.h"

namespace stasis::model {

// Where and when the image was made, and what a machine must offer to go on from it.
struct Origin {
  std::string stasis_version;
  i64 created_ns = 0;    // CLOCK_REALTIME
  i64 monotonic_ns = 0;  // CLOCK_MONOTONIC then
  i64 boottime_ns = 0;   // CLOCK_BOOTTIME then
  // What the time namespace of the processes adds to the clocks of the machine; in both above.
  i64 monotonic_offset_ns = 0, boottime_offset_ns = 0;
  std::string boot_id;  // /proc/sys/kernel/random/boot_id
  std::string hostname;
  std::string kernel_release;
  std::string architecture;  // uname -m
  u64 page_size = 0;
  std::vector<std::string> cpu_features;  // names as /proc/cpuinfo writes them, sorted
  u64 xcr0 = 0;                           // state components the kernel had enabled (x86)
  Bytes vdso;                             // the vdso's bytes; programs hold addresses inside it
  u32 scope = 0;                          // cr_scope_t of the request
  // The checkpoint ended the processes by a signal before they ran on: what was written since was
  // written by others, or by a restart of the image.
  bool ended = false;
  u32 cpus = 0;  // CPUs online (sysconf); an affinity of just all of them is no choice. 0: unknown

  bool operator==(const Origin&) const = default;
  static constexpr auto fields() {
    return std::tuple{field("stasis_version", &Origin::stasis_version),
                      field("created_ns", &Origin::created_ns),
                      field("monotonic_ns", &Origin::monotonic_ns),
                      field("boottime_ns", &Origin::boottime_ns),
                      optional_field("monotonic_offset_ns", &Origin::monotonic_offset_ns),
                      optional_field("boottime_offset_ns", &Origin::boottime_offset_ns),
                      field("boot_id", &Origin::boot_id),
                      field("hostname", &Origin::hostname),
                      field("kernel_release", &Origin::kernel_release),
                      field("architecture", &Origin::architecture),
                      field("page_size", &Origin::page_size),
                      field("cpu_features", &Origin::cpu_features),
                      field("xcr0", &Origin::xcr0),
                      field("vdso", &Origin::vdso),
                      field("scope", &Origin::scope),
                      optional_field("ended", &Origin::ended),
                      optional_field("cpus", &Origin::cpus)};
  }
};

struct Image {
  Origin origin;
  std::vector<Process> processes;  // the root first; a parent before its children
  std::vector<Zombie> zombies;     // children of these that nobody has waited for
  std::vector<OpenFile> open_files;
  std::vector<Resource> resources;
  std::vector<Space> spaces;

  bool operator==(const Image&) const = default;
  static constexpr auto fields() {
    return std::tuple{field("origin", &Image::origin),
                      field("processes", &Image::processes),
                      optional_field("zombies", &Image::zombies),
                      field("open_files", &Image::open_files),
                      field("resources", &Image::resources),
                      field("spaces", &Image::spaces)};
  }
};

}  // namespace stasis::model
