// Features of the machine that runs the tests, compared with what the kernel says of it.
#include "arch/cpu_features.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <sstream>

#include "base/sys.h"

using namespace stasis;

namespace {

std::vector<std::string> flags_of_cpuinfo() {
  std::istringstream text(sys::read_file("/proc/cpuinfo").value());
  std::vector<std::string> flags;
  for (std::string line; flags.empty() && std::getline(text, line);) {
    if (line.rfind("flags", 0) != 0) continue;
    std::istringstream words(line.substr(line.find(':') + 1));
    for (std::string word; words >> word;) flags.push_back(word);
  }
  return flags;
}

Bytes state(size_t size, u64 components, std::byte fill) {
  Bytes bytes(size, fill);
  std::fill(bytes.begin() + 512, bytes.begin() + 576, std::byte{0});
  std::memcpy(&bytes[512], &components, sizeof components);
  return bytes;
}

}  // namespace

TEST_CASE("features have the names that the kernel gives them") {
  const auto flags = flags_of_cpuinfo();
  REQUIRE(!flags.empty());
  // The kernel may distrust a feature that cpuid offers (rdseed of some machines): a wrong name
  // would be missing on every machine, so one that is there now and then proves itself elsewhere.
  size_t unknown = 0;
  for (const std::string& name : arch::cpu_features()) {
    if (std::find(flags.begin(), flags.end(), name) == flags.end()) ++unknown;
  }
  CHECK(unknown <= 3);
}

TEST_CASE("features are sorted, and the difference is named") {
  const auto features = arch::cpu_features();
  CHECK(std::is_sorted(features.begin(), features.end()));
  CHECK(arch::missing_features(features, features).empty());
  CHECK(arch::missing_features({"avx", "sse", "xop"}, {"avx", "sse"}) ==
        std::vector<std::string>{"xop"});
}

TEST_CASE("components have names") {
  CHECK(arch::component_names(0x3) == "x87, SSE");
  CHECK(arch::component_names(u64{1} << 18) == "AMX tile data");
  CHECK(arch::components_by_permission(0xe7).empty());
  CHECK(arch::components_by_permission(u64{1} << 18) == std::vector<int>{18});
}

TEST_CASE("state of the same size is taken as it is") {
  const Bytes saved = state(2696, 0xe7, std::byte{7});
  CHECK(arch::adapt_extended_state(saved, state(2696, 0, std::byte{0})).value() == saved);
}

TEST_CASE("state of another size keeps what lies at the same place everywhere") {
  const Bytes saved = state(2696, 0x207, std::byte{7});
  const auto adapted = arch::adapt_extended_state(saved, state(11008, 0x200, std::byte{1}));
  REQUIRE(adapted.ok());
  CHECK(adapted->size() == 11008);
  CHECK(arch::components_in_use(*adapted) == 0x207);
  CHECK((*adapted)[160] == std::byte{7});
  CHECK((*adapted)[576 + 255] == std::byte{7});
  CHECK((*adapted)[2688] == std::byte{1});  // PKRU of the new thread
}

TEST_CASE("state that may lie elsewhere is refused by name") {
  const auto adapted =
      arch::adapt_extended_state(state(2696, 0xe7, std::byte{7}), state(2440, 0, std::byte{0}));
  REQUIRE(!adapted.ok());
  CHECK(adapted.error().what.find("AVX-512") != std::string::npos);
  CHECK(!arch::adapt_extended_state(state(832, 7, std::byte{7}), Bytes(512)).ok());
}

TEST_CASE("a component with initial values is marked as not in use, whatever the processor said") {
  Bytes x87(2696);
  x87[0] = std::byte{0x7f};
  x87[1] = std::byte{0x03};
  x87[160] = std::byte{1};  // xmm0
  x87[512] = std::byte{0x3};
  const Bytes canonical = arch::canonical_extended_state(x87);
  CHECK(arch::components_in_use(canonical) == 0x2);
  x87[32] = std::byte{1};  // st(0)
  CHECK(arch::canonical_extended_state(x87) == x87);
  CHECK(arch::canonical_extended_state(Bytes(16)) == Bytes(16));
}
