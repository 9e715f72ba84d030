// cpuid(2) and xgetbv of x86_64. The table names what user programs can execute; the second column
// tells where the bit is (Intel SDM volume 2A, CPUID; AMD APM volume 3, appendix E).
#include "arch/cpu_features.h"

#include <cpuid.h>
#include <fmt/format.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <iterator>

namespace stasis::arch {
namespace {

enum Register { kEax, kEbx, kEcx, kEdx };

constexpr u64 kAvx = 0x6, kAvx512 = 0xe6, kTile = 0x60000;  // components that must be enabled

struct Feature {
  const char* name;
  u32 leaf, subleaf;
  Register reg;
  int bit;
  u64 components = 0;
};

constexpr Feature kFeatures[] = {
    {"cx8", 1, 0, kEdx, 8},
    {"cmov", 1, 0, kEdx, 15},
    {"clflush", 1, 0, kEdx, 19},
    {"mmx", 1, 0, kEdx, 23},
    {"fxsr", 1, 0, kEdx, 24},
    {"sse", 1, 0, kEdx, 25},
    {"sse2", 1, 0, kEdx, 26},
    {"pni", 1, 0, kEcx, 0},
    {"pclmulqdq", 1, 0, kEcx, 1},
    {"ssse3", 1, 0, kEcx, 9},
    {"fma", 1, 0, kEcx, 12, kAvx},
    {"cx16", 1, 0, kEcx, 13},
    {"sse4_1", 1, 0, kEcx, 19},
    {"sse4_2", 1, 0, kEcx, 20},
    {"movbe", 1, 0, kEcx, 22},
    {"popcnt", 1, 0, kEcx, 23},
    {"aes", 1, 0, kEcx, 25},
    {"xsave", 1, 0, kEcx, 27},
    {"avx", 1, 0, kEcx, 28, kAvx},
    {"f16c", 1, 0, kEcx, 29, kAvx},
    {"rdrand", 1, 0, kEcx, 30},
    {"fsgsbase", 7, 0, kEbx, 0},
    {"bmi1", 7, 0, kEbx, 3},
    {"hle", 7, 0, kEbx, 4},
    {"avx2", 7, 0, kEbx, 5, kAvx},
    {"bmi2", 7, 0, kEbx, 8},
    {"erms", 7, 0, kEbx, 9},
    {"rtm", 7, 0, kEbx, 11},
    {"avx512f", 7, 0, kEbx, 16, kAvx512},
    {"avx512dq", 7, 0, kEbx, 17, kAvx512},
    {"rdseed", 7, 0, kEbx, 18},
    {"adx", 7, 0, kEbx, 19},
    {"avx512ifma", 7, 0, kEbx, 21, kAvx512},
    {"clflushopt", 7, 0, kEbx, 23},
    {"clwb", 7, 0, kEbx, 24},
    {"avx512cd", 7, 0, kEbx, 28, kAvx512},
    {"sha_ni", 7, 0, kEbx, 29},
    {"avx512bw", 7, 0, kEbx, 30, kAvx512},
    {"avx512vl", 7, 0, kEbx, 31, kAvx512},
    {"avx512vbmi", 7, 0, kEcx, 1, kAvx512},
    {"ospke", 7, 0, kEcx, 4},
    {"waitpkg", 7, 0, kEcx, 5},
    {"avx512_vbmi2", 7, 0, kEcx, 6, kAvx512},
    {"gfni", 7, 0, kEcx, 8},
    {"vaes", 7, 0, kEcx, 9, kAvx},
    {"vpclmulqdq", 7, 0, kEcx, 10, kAvx},
    {"avx512_vnni", 7, 0, kEcx, 11, kAvx512},
    {"avx512_bitalg", 7, 0, kEcx, 12, kAvx512},
    {"avx512_vpopcntdq", 7, 0, kEcx, 14, kAvx512},
    {"rdpid", 7, 0, kEcx, 22},
    {"cldemote", 7, 0, kEcx, 25},
    {"movdiri", 7, 0, kEcx, 27},
    {"movdir64b", 7, 0, kEcx, 28},
    {"enqcmd", 7, 0, kEcx, 29},
    {"fsrm", 7, 0, kEdx, 4},
    {"avx512_vp2intersect", 7, 0, kEdx, 8, kAvx512},
    {"serialize", 7, 0, kEdx, 14},
    {"tsxldtrk", 7, 0, kEdx, 16},
    {"amx_bf16", 7, 0, kEdx, 22, kTile},
    {"avx512_fp16", 7, 0, kEdx, 23, kAvx512},
    {"amx_tile", 7, 0, kEdx, 24, kTile},
    {"amx_int8", 7, 0, kEdx, 25, kTile},
    {"sha512", 7, 1, kEax, 0, kAvx},
    {"sm3", 7, 1, kEax, 1, kAvx},
    {"sm4", 7, 1, kEax, 2, kAvx},
    {"avx_vnni", 7, 1, kEax, 4, kAvx},
    {"avx512_bf16", 7, 1, kEax, 5, kAvx512},
    {"cmpccxadd", 7, 1, kEax, 7},
    {"amx_fp16", 7, 1, kEax, 21, kTile},
    {"avx_ifma", 7, 1, kEax, 23, kAvx},
    {"xsaveopt", 13, 1, kEax, 0},
    {"xsavec", 13, 1, kEax, 1},
    {"xgetbv1", 13, 1, kEax, 2},
    {"lahf_lm", 0x80000001, 0, kEcx, 0},
    {"abm", 0x80000001, 0, kEcx, 5},
    {"sse4a", 0x80000001, 0, kEcx, 6},
    {"misalignsse", 0x80000001, 0, kEcx, 7},
    {"3dnowprefetch", 0x80000001, 0, kEcx, 8},
    {"xop", 0x80000001, 0, kEcx, 11, kAvx},
    {"fma4", 0x80000001, 0, kEcx, 16, kAvx},
    {"tbm", 0x80000001, 0, kEcx, 21},
    {"mwaitx", 0x80000001, 0, kEcx, 29},
    {"rdtscp", 0x80000001, 0, kEdx, 27},
    {"3dnow", 0x80000001, 0, kEdx, 31},
    {"clzero", 0x80000008, 0, kEbx, 0},
};

// Zeros where the leaf does not exist.
std::array<u32, 4> cpuid(u32 leaf, u32 subleaf) {
  std::array<u32, 4> out = {};
  if (__get_cpuid_count(leaf, subleaf, &out[0], &out[1], &out[2], &out[3]) == 0) return {};
  return out;
}

constexpr u64 kLegacySize = 512;    // fxsave area
constexpr u64 kHeaderOffset = 512;  // xsave header: which components are there
constexpr u64 kAvxOffset = 576;     // the one extended component whose place never differs
constexpr u64 kAvxSize = 256;
constexpr u64 kFixedComponents = 0x7;  // x87, SSE, AVX: at the same place on every machine
constexpr u64 kKeyRights = 1 << 9;     // PKRU: every new thread has the kernel's default

constexpr std::array<const char*, 20> kComponentNames = {
    "x87",           "SSE",        "AVX",   "MPX bounds", "MPX control", "AVX-512 masks",
    "AVX-512 upper", "AVX-512 hi", "trace", "PKRU",       "PASID",       "CET user",
    "CET kernel",    "HDC",        "UINTR", "LBR",        "HWP",         "AMX tile config",
    "AMX tile data", "APX"};

bool all_zero(ByteView bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{}; });
}

// FCW 0x37f, all else zeros; MXCSR, which lies between, belongs to no component.
bool is_initial_x87(ByteView extended) {
  constexpr u16 kInitialControl = 0x37f;
  u16 control = 0;
  std::memcpy(&control, extended.data(), sizeof control);
  return control == kInitialControl && all_zero(extended.subspan(2, 22)) &&
         all_zero(extended.subspan(32, 128));
}

bool is_initial(ByteView extended, u32 component) {
  if (component == 0) return is_initial_x87(extended);
  if (component == 1) return all_zero(extended.subspan(160, 256));  // xmm0 to xmm15
  const auto [size, offset, flags, unused] = cpuid(13, component);
  return size != 0 && u64{offset} + size <= extended.size() &&
         all_zero(extended.subspan(offset, size));
}

u64 read_header(ByteView extended) {
  u64 components = 0;
  if (extended.size() >= kHeaderOffset + sizeof components) {
    std::memcpy(&components, extended.data() + kHeaderOffset, sizeof components);
  }
  return components;
}

}  // namespace

u64 xcr0() {
  if ((cpuid(1, 0)[kEcx] & (1U << 27)) == 0) return 0;  // OSXSAVE
  u32 low = 0;
  u32 high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return u64{high} << 32 | low;
}

std::vector<std::string> cpu_features() {
  const u64 enabled = xcr0();
  std::vector<std::string> names;
  for (const Feature& feature : kFeatures) {
    const bool there = (cpuid(feature.leaf, feature.subleaf)[feature.reg] >> feature.bit & 1) != 0;
    if (there && (feature.components & ~enabled) == 0) names.emplace_back(feature.name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<std::string> missing_features(const std::vector<std::string>& needed,
                                          const std::vector<std::string>& offered) {
  std::vector<std::string> missing;
  std::set_difference(needed.begin(), needed.end(), offered.begin(), offered.end(),
                      std::back_inserter(missing));
  return missing;
}

std::string component_names(u64 components) {
  std::vector<std::string> names;
  for (size_t bit = 0; bit < 64; ++bit) {
    if ((components >> bit & 1) == 0) continue;
    names.push_back(bit < kComponentNames.size() ? kComponentNames[bit]
                                                 : fmt::format("component {}", bit));
  }
  return fmt::format("{}", fmt::join(names, ", "));
}

u64 extended_state_size() {
  return xcr0() == 0 ? 0 : cpuid(13, 0)[kEbx];
}

u64 components_in_use(ByteView extended) {
  return read_header(extended);
}

Bytes canonical_extended_state(ByteView extended) {
  Bytes state(extended.begin(), extended.end());
  u64 header = read_header(extended);
  for (u32 component = 0; component < 64; ++component) {
    const u64 bit = u64{1} << component;
    if ((header & bit) != 0 && is_initial(extended, component)) header &= ~bit;
  }
  if (state.size() >= kHeaderOffset + sizeof header) {
    std::memcpy(&state[kHeaderOffset], &header, sizeof header);
  }
  return state;
}

std::vector<int> components_by_permission(u64 components) {
  constexpr int kTileData = 18;  // the only one so far: arch/x86/kernel/fpu/xstate.c
  if ((components >> kTileData & 1) != 0) return {kTileData};
  return {};
}

std::optional<PermissionQuery> permission_query() {
  constexpr u64 kArchGetXcompPerm = 0x1022;
  return PermissionQuery{.number = SYS_arch_prctl, .option = kArchGetXcompPerm};
}

std::optional<PermissionQuery> cpuid_query() {
  constexpr u64 kArchGetCpuid = 0x1011;
  return PermissionQuery{.number = SYS_arch_prctl, .option = kArchGetCpuid};
}

std::optional<PermissionQuery> cpuid_setting() {
  constexpr u64 kArchSetCpuid = 0x1012;
  return PermissionQuery{.number = SYS_arch_prctl, .option = kArchSetCpuid};
}

Result<Bytes> adapt_extended_state(ByteView saved, ByteView fresh) {
  if (saved.size() == fresh.size()) return Bytes(saved.begin(), saved.end());
  constexpr u64 kLeast = kAvxOffset + kAvxSize;
  if (saved.size() < kAvxOffset || fresh.size() < kAvxOffset) {
    return fail(ENOTSUP, fmt::format("{} bytes of extended state where this machine has {}",
                                     saved.size(), fresh.size()));
  }
  u64 components = read_header(saved);
  const u64 unknown = components & ~kFixedComponents & ~kKeyRights;
  if (unknown != 0) {
    return fail(ENOTSUP, fmt::format("the state of {} lies elsewhere on this machine",
                                     component_names(unknown)));
  }
  components &= kFixedComponents;
  if ((components & 4) != 0 && (saved.size() < kLeast || fresh.size() < kLeast)) {
    return fail(ENOTSUP, "this machine has no AVX state");
  }
  Bytes result(fresh.begin(), fresh.end());
  std::memcpy(result.data(), saved.data(), 464);  // behind it: the kernel's own notes
  if ((components & 4) != 0) std::memcpy(&result[kAvxOffset], &saved[kAvxOffset], kAvxSize);
  const u64 header = components | (read_header(fresh) & kKeyRights);
  std::memcpy(&result[kHeaderOffset], &header, sizeof header);
  static_assert(kLegacySize == kHeaderOffset);
  return result;
}

}  // namespace stasis::arch
