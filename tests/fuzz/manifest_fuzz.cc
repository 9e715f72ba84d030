// Manifests: an input is the CBOR of one. What is read keeps its value when it is written and read
// again; what keeps the model's rules can be printed, compared and planned (plan.h).
#include <algorithm>

#include "format/cbor.h"
#include "format/manifest.h"
#include "format/manifest_read.h"
#include "model/diff.h"
#include "model/normalise.h"
#include "model/print.h"
#include "model/validate.h"
#include "plan.h"
#include "target.h"

namespace stasis::fuzz {
namespace {

constexpr u64 kFree = u64{16} << 20;  // as format/manifest.cc bounds a small manifest
constexpr u64 kFactor = 8;
constexpr size_t kBlock = 61;  // items lie across the ends of blocks

Result<model::Image> image_of(ByteView cbor) {
  format::MemoryBudget budget(kFree + kFactor * cbor.size());
  size_t at = 0;
  format::CborReader reader(
      [cbor, &at]() -> Result<ByteView> {
        const ByteView block = cbor.subspan(at, std::min(kBlock, cbor.size() - at));
        at += block.size();
        return block;
      },
      cbor.size(), budget);
  return format::read_image(reader);
}

void check_round_trip(const model::Image& image) {
  const auto stored = format::encode_manifest(image);
  require(stored.ok(), "what was read can be written");
  const auto read = [&stored](u64 at, ByteSpan out) -> Result<void> {
    std::copy_n(stored->stored.begin() + static_cast<std::ptrdiff_t>(at), out.size(), out.begin());
    return {};
  };
  const auto again = format::decode_manifest(read, stored->stored.size(), stored->length);
  require(again.ok(), "what was written can be read");
  require(*again == image, "what is read is what was written");
}

void check_model(const model::Image& image) {
  require(!model::print_text(image, {}).empty(), "an image can be described");
  require(!model::print_json(image).empty(), "an image is JSON");
  require(model::diff(image, image).empty(), "an image is like itself");
  require(model::diff(image, model::normalise(image).image).empty(),
          "what is normalised is like what it was");
}

}  // namespace
}  // namespace stasis::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace stasis::fuzz;
  const auto image = image_of(view_of(data, size));
  if (!image) return 0;
  check_round_trip(*image);
  if (!stasis::model::validate(*image)) return 0;
  check_model(*image);
  check_plan(*image);
  return 0;
}
