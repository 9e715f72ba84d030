// Gadgets of x86_64: `syscall; ret` is 0f 05 c3, the C libraries' signal restorer is
// mov $15,%rax; syscall (glibc, musl, Go) or mov $15,%eax; syscall. The vdso has none of them.
#include "arch/gadgets.h"

#include <algorithm>
#include <cstring>
#include <string_view>

namespace stasis::arch {
namespace {

using namespace std::string_view_literals;

constexpr std::string_view kCall = "\x0f\x05\xc3"sv;
constexpr std::string_view kRestorers[] = {"\x48\xc7\xc0\x0f\x00\x00\x00\x0f\x05"sv,
                                           "\xb8\x0f\x00\x00\x00\x0f\x05"sv};
constexpr std::string_view kPop = "\x58\xc3"sv;

RemoteAddr find(ByteView code, RemoteAddr base, std::string_view pattern) {
  const void* found = ::memmem(code.data(), code.size(), pattern.data(), pattern.size());
  if (found == nullptr) return {};
  return base + static_cast<u64>(static_cast<const std::byte*>(found) - code.data());
}

}  // namespace

void find_gadgets(ByteView code, RemoteAddr base, Gadgets& gadgets) {
  if (!gadgets.call) gadgets.call = find(code, base, kCall);
  for (const std::string_view pattern : kRestorers) {
    if (!gadgets.restorer) gadgets.restorer = find(code, base, pattern);
  }
  if (!gadgets.pop) gadgets.pop = find(code, base, kPop);
}

bool is_within_gadget(ByteView code) {
  // A gadget covers the pointer (or ends right before it: the call it makes is under way).
  const auto touches = [&](std::string_view pattern) {
    for (u64 before = 0; before <= pattern.size(); ++before) {
      const u64 start = kLongestGadget - before;
      if (start + pattern.size() > code.size()) continue;
      if (std::memcmp(code.data() + start, pattern.data(), pattern.size()) == 0) return true;
    }
    return false;
  };
  return touches(kCall) || touches(kPop) || touches(kRestorers[0]) || touches(kRestorers[1]);
}

}  // namespace stasis::arch
