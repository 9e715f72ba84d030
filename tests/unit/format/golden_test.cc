// Files kept in tests/fuzz: golden ones, which every later version must read as it did when they
// were written, and hostile ones, which every version must refuse. STASIS_UPDATE_GOLDEN=1 writes
// them anew, which is a change of the format (docs/format.md).
#include <doctest/doctest.h>
#include <fcntl.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/sys.h"
#include "forge.h"
#include "model/json.h"
#include "model/print.h"
#include "support.h"

namespace stasis::format {
namespace {

const std::string kFolder = STASIS_FUZZ_FOLDER;
constexpr u64 kSeed = 20;

bool updating() {
  return std::getenv("STASIS_UPDATE_GOLDEN") != nullptr;
}

void save(const std::string& name, ByteView bytes) {
  std::filesystem::remove(name);
  auto fd = sys::open(name, O_WRONLY | O_CREAT | O_EXCL, 0644);
  REQUIRE(fd);
  REQUIRE(sys::write_all(fd->get(), bytes));
}

// A random image with few pages, to keep the files small.
model::Image golden_image() {
  model::Image image = image_for_here(kSeed);
  for (model::Space& space : image.spaces) {
    if (space.runs.size() > 2) space.runs.resize(2);
    for (model::Run& run : space.runs) run.length = std::min(run.length, 2 * kPageSize);
  }
  return image;
}

void save_hostile(const std::string& name, const std::vector<u8>& cbor) {
  Forgery forgery;
  forgery.set_cbor(bytes_from(cbor));
  save(kFolder + "/corpus/image/" + name, forgery.bytes());
}

void save_hostile_manifest(const std::string& name,
                           const std::function<void(nlohmann::json&)>& change) {
  auto json = model::to_json(one_area(1), model::JsonStyle::kMachine);
  change(json);
  save_hostile(name, nlohmann::json::to_cbor(json));
}

void update_corpus() {
  save_hostile("nested-arrays", std::vector<u8>(50000, 0x81));
  save_hostile("nested-indefinite-strings", std::vector<u8>(50000, 0x7f));
  save_hostile("very-long-array", {0x9b, 0xff, 0, 0, 0, 0, 0, 0, 0});
  save_hostile("manifest-bomb", std::vector<u8>(size_t{1} << 28));
  save_hostile_manifest("overlapping-runs", [](nlohmann::json& j) {
    auto& runs = j["spaces"][0]["runs"];
    runs.push_back(runs[0]);
  });
  save_hostile_manifest("field-from-the-future", [](nlohmann::json& j) { j["!later"] = 1; });
  Forgery bomb;
  bomb.frames[0].stored = compressed(Bytes(size_t{1} << 26));
  save(kFolder + "/corpus/image/frame-bomb", bomb.bytes());
}

}  // namespace

TEST_CASE("golden files read as they always did") {
  if (machine() != "x86_64") return;  // what they were written for
  for (const auto compression : {Compression::kZstd, Compression::kNone}) {
    const std::string name =
        kFolder + "/golden/version-1-" + (compression == Compression::kZstd ? "zstd" : "raw");
    PatternPages pages(kSeed);
    if (updating()) {
      model::Image image = golden_image();
      save(name, written(image, pages, {.compression = compression, .workers = 1}));
      std::ofstream(name + ".json") << model::print_json(image);
    }
    auto fd = sys::open(name, O_RDONLY);
    REQUIRE(fd);
    auto image = open_image(std::move(*fd));
    REQUIRE(image);
    CHECK(verify(*image));
    CHECK(image->compression == compression);
    CHECK(same_contents(image->image, pages, *image->pages));
    const auto json = sys::read_file(name + ".json");
    REQUIRE(json);
    CHECK((model::print_json(image->image) == *json));
  }
}

TEST_CASE("hostile files are refused") {
  if (updating()) update_corpus();
  int count = 0;
  for (const auto& each : std::filesystem::directory_iterator(kFolder + "/corpus/image")) {
    CAPTURE(each.path().string());
    auto fd = sys::open(each.path(), O_RDONLY);
    REQUIRE(fd);
    auto image = open_image(std::move(*fd));
    CHECK((!image || !verify(*image)));
    ++count;
  }
  CHECK(count > 0);
}

}  // namespace stasis::format
