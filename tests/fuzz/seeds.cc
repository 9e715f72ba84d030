// Writes what fuzzers of images begin with: random images of the model as manifests and as files.
//   seeds FOLDER      which has the folders image and manifest
#include <fcntl.h>
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/sys.h"
#include "forge.h"
#include "model/json.h"
#include "support.h"

namespace {

using namespace stasis;

constexpr u64 kImages = 12;

Result<void> save(const std::string& path, ByteView bytes) {
  const UniqueFd fd = TRY(sys::open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644));
  return sys::write_all(fd.get(), bytes);
}

Result<void> write_seed(const std::string& folder, u64 seed, model::Image image) {
  const auto json = model::to_json(image, model::JsonStyle::kMachine);
  TRY(save(fmt::format("{}/manifest/random-{}", folder, seed),
           format::bytes_from(nlohmann::json::to_cbor(json))));
  format::PatternPages pages(seed);
  const auto compression = seed % 2 == 0 ? format::Compression::kZstd : format::Compression::kNone;
  const Bytes file = format::written(image, pages, {.compression = compression, .workers = 1});
  return save(fmt::format("{}/image/random-{}", folder, seed), file);
}

Result<void> write_seeds(const std::string& folder) {
  TRY(write_seed(folder, 0, format::one_area(2)));
  for (u64 seed = 1; seed < kImages; ++seed) {
    model::Image image = format::image_for_here(seed);
    // Groups and sessions at random have no place in a family.
    for (model::Process& each : image.processes) each.group = each.session = image.processes[0].pid;
    for (model::Zombie& each : image.zombies) each.group = each.session = image.processes[0].pid;
    TRY(write_seed(folder, seed, std::move(image)));
  }
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const auto done = write_seeds(argv[1]);
  if (!done) fmt::print(stderr, "seeds: {}\n", done.error().message());
  return done ? 0 : 1;
}
