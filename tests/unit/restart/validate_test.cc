// Refusals of a made-up machine and image; only the last case looks at the real machine.
#include "restart/validate.h"

#include <doctest/doctest.h>
#include <sys/resource.h>

#include <algorithm>

using namespace stasis;
using namespace stasis::restart;

namespace {

Machine machine() {
  Machine result;
  result.architecture = "x86_64";
  result.page_size = 4096;
  result.cpu_features = {"avx", "sse"};
  result.xcr0 = 7;
  result.extended_state_size = 832;
  result.lowest_address = 65536;
  result.root_directory = "/";
  result.credentials = {.uids = {5, 5, 5, 5}, .gids = {5, 5, 5, 5}, .groups = {}};
  result.limits = {{RLIMIT_NOFILE, 1024, 4096}, {RLIMIT_MEMLOCK, 4096, 65536}};
  return result;
}

model::Image image() {
  model::Image result;
  result.origin.architecture = "x86_64";
  result.origin.page_size = 4096;
  result.origin.cpu_features = {"avx", "sse"};
  result.origin.xcr0 = 7;
  result.spaces.emplace_back();
  model::Process& process = result.processes.emplace_back();
  process.pid = 77;
  process.root_directory = "/";
  process.credentials = machine().credentials;
  process.threads.emplace_back().name = "prog";
  process.threads[0].registers.extended = Bytes(832);
  return result;
}

bool mentions(const std::vector<Refusal>& refusals, std::string_view text) {
  return std::any_of(refusals.begin(), refusals.end(), [&](const Refusal& refusal) {
    return (refusal.subject + refusal.reason).find(text) != std::string::npos;
  });
}

}  // namespace

TEST_CASE("an image of this machine is welcome") {
  CHECK(machine_obstacles(image(), machine(), false).empty());
  CHECK(memory_obstacles(image(), machine()).empty());
  CHECK(process_obstacles(image().processes[0], machine()).empty());
}

TEST_CASE("another architecture is refused, and nothing else said") {
  model::Image other = image();
  other.origin.architecture = "aarch64";
  other.origin.page_size = 65536;
  const auto refusals = machine_obstacles(other, machine(), false);
  REQUIRE(refusals.size() == 1);
  CHECK(mentions(refusals, "aarch64"));
}

TEST_CASE("missing CPU features are listed, unless they are not to matter") {
  model::Image more = image();
  more.origin.cpu_features = {"avx", "avx512f", "sse", "xop"};
  more.origin.xcr0 = 0xe7;
  const auto refusals = machine_obstacles(more, machine(), false);
  CHECK(mentions(refusals, "avx512f xop"));
  CHECK(mentions(refusals, "AVX-512"));
  CHECK(machine_obstacles(more, machine(), true).empty());
}

TEST_CASE("a limit that only an administrator could raise is named") {
  model::Process process = image().processes[0];
  process.limits = {{RLIMIT_NOFILE, 100, 5000}};
  CHECK(mentions(process_obstacles(process, machine()), "open files was 5000, and ours is 4096"));
  Machine privileged = machine();
  privileged.credentials.effective = ~u64{0};
  CHECK(process_obstacles(process, privileged).empty());
}

TEST_CASE("addresses that cannot be mapped are refused") {
  model::Image low = image();
  model::Vma vma;
  vma.start = {0x1000};
  vma.end = {0x2000};
  low.processes[0].memory.vmas = {vma};
  CHECK(mentions(memory_obstacles(low, machine()), "below 0x10000"));
  low.processes[0].memory.vmas[0].start = {0x20000};
  low.processes[0].memory.vmas[0].end = {u64{1} << 56};
  CHECK(mentions(memory_obstacles(low, machine()), "no such addresses"));
  low.processes[0].memory.vmas[0].kind = model::VmaKind::kVsyscall;
  CHECK(memory_obstacles(low, machine()).empty());
}

TEST_CASE("shadow stacks, seals without mseal and too much locked memory are refused") {
  model::Image odd = image();
  model::Vma vma;
  vma.start = {0x100000};
  vma.end = {0x200000};
  vma.flags = {"lo", "sl", "ss"};
  odd.processes[0].memory.vmas = {vma};
  const auto refusals = memory_obstacles(odd, machine());
  CHECK(mentions(refusals, "shadow stack"));
  CHECK(mentions(refusals, "mseal"));
  CHECK(mentions(process_obstacles(odd.processes[0], machine()), "locked"));
}

TEST_CASE("scheduling that we may not have is refused") {
  model::Process process = image().processes[0];
  process.threads[0].scheduling.nice = -5;
  CHECK(mentions(process_obstacles(process, machine()), "nice -5"));
  process.threads[0].scheduling = {.policy = 1, .priority = 10};
  CHECK(mentions(process_obstacles(process, machine()), "real-time priority 10"));
}

TEST_CASE("timer ids beyond counting are refused where they cannot be chosen") {
  model::Process process = image().processes[0];
  process.posix_timers = {{.id = 2'000'000'000}};
  CHECK(mentions(process_obstacles(process, machine()), "timer 2000000000"));
  Machine newer = machine();
  newer.choose_timer_ids = true;
  process.posix_timers.push_back({.id = -5});
  CHECK(mentions(process_obstacles(process, newer), "timer -5"));
  process.posix_timers.pop_back();
  CHECK(process_obstacles(process, newer).empty());
}

TEST_CASE("a vdso that cannot be moved or replaced is refused") {
  Machine sealed = machine();
  sealed.vdso_sealed = true;
  CHECK(mentions(machine_obstacles(image(), sealed, false), "sealed"));
  model::Image other = image();
  other.origin.vdso = Bytes(8192, std::byte{1});
  CHECK(mentions(machine_obstacles(other, machine(), false), "vdso"));
}

TEST_CASE("this machine welcomes what it is") {
  const auto here = this_machine();
  REQUIRE(here.ok());
  CHECK(here->page_size == kPageSize);
  CHECK(!here->vdso.empty());
  CHECK(here->limits.size() >= 16);
}
