// Runs a fuzz target over files instead of a fuzzer: the inputs that were findings once
// (tests/fuzz/corpus) are part of the ordinary tests, with any compiler. Ends with the counts that
// tests/tally.py reads.
#include <filesystem>

#include "base/sys.h"
#include "target.h"

namespace {

int run(const std::filesystem::path& folder) {
  int count = 0;
  for (const auto& each : std::filesystem::directory_iterator(folder)) {
    if (!each.is_regular_file()) continue;
    const auto bytes = stasis::sys::read_bytes(each.path());
    if (!bytes) return -1;
    (void)std::printf("%s\n", each.path().c_str());
    (void)std::fflush(stdout);  // the name of what ends the program
    const auto* data = static_cast<const uint8_t*>(static_cast<const void*>(bytes->data()));
    (void)LLVMFuzzerTestOneInput(data, bytes->size());
    ++count;
  }
  return count;
}

}  // namespace

int main(int argc, char** argv) {
  int count = 0;
  for (int i = 1; i < argc; ++i) {
    const int more = run(argv[i]);
    if (more <= 0) {
      (void)std::fprintf(stderr, "no inputs in %s\n", argv[i]);
      return 1;
    }
    count += more;
  }
  (void)std::printf("%d passed, 0 failed, 0 skipped\n", count);
  return 0;
}
