// The parts of validate(): each compares one side of the image with one side of the machine. Pure:
// the machine is given.
#pragma once

#include <vector>

#include "base/result.h"
#include "model/image.h"
#include "restart/build.h"

namespace stasis::restart {

// What matters of this machine and of us, read once.
struct Machine {
  std::string architecture;
  u64 page_size = 0;
  std::vector<std::string> cpu_features;
  u64 xcr0 = 0;
  u64 extended_state_size = 0;
  Bytes vdso;
  bool vdso_sealed = false;
  bool has_mseal = false;
  bool choose_timer_ids = false;
  u64 lowest_address = 0;  // vm.mmap_min_addr
  model::Credentials credentials;
  bool no_new_privs = false;
  bool seccomp = false;      // a filter is in force
  std::optional<u32> login;  // of auditing
  std::string label;         // of a security module
  std::vector<model::ResourceLimit> limits;
  i32 nice = 0;
  std::string root_directory;
};
Result<Machine> this_machine();

std::vector<Refusal> machine_obstacles(const model::Image& image, const Machine& machine,
                                       bool ignore_cpu_features);
std::vector<Refusal> memory_obstacles(const model::Image& image, const Machine& machine);
// The machine for an image that may ask only for what its user could have had: of our capabilities
// those are left that let us become him. Limits and priorities are then compared with our own.
Machine for_the_user(Machine machine);
std::vector<Refusal> process_obstacles(const model::Process& process, const Machine& machine);

}  // namespace stasis::restart
