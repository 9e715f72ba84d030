// Files made to hurt the reader: all checksums are right, what they protect is not.
#include <doctest/doctest.h>
#include <fcntl.h>

#include <nlohmann/json.hpp>
#include <random>

#include "base/sys.h"
#include "forge.h"
#include "model/json.h"
#include "support.h"

namespace stasis::format {
namespace {

using nlohmann::json;

int code_of(const auto& result) {
  return result ? 0 : result.error().code;
}
int outcome(const Bytes& bytes) {
  auto image = opened(bytes);
  if (!image) return image.error().code;
  return code_of(verify(*image));
}

json manifest_of(const model::Image& image) {
  return model::to_json(image, model::JsonStyle::kMachine);
}

// The outcome of a one-page file whose manifest `change` has edited.
template <class Change>
int after(Change change) {
  Forgery forgery;
  json manifest = manifest_of(one_area(1));
  change(manifest);
  forgery.set_manifest(manifest);
  return outcome(forgery.bytes());
}

int with_cbor(const std::vector<u8>& cbor) {
  Forgery forgery;
  forgery.set_cbor(bytes_from(cbor));
  return outcome(forgery.bytes());
}

template <class Change>
int with_footer(Change change) {
  const Forgery forgery;
  Footer footer = forgery.footer();
  change(footer);
  return outcome(forgery.bytes(footer));
}

}  // namespace

TEST_CASE("the forger can make a good file") {
  CHECK(outcome(Forgery().bytes()) == 0);
}

TEST_CASE("what is no context file") {
  CHECK(outcome({}) == EIO);
  CHECK(outcome(Bytes(30, std::byte{'x'})) == EIO);
  CHECK(outcome(Bytes(300, std::byte{'x'})) == EINVAL);
  CHECK(code_of(open_image(sys::open("/", O_RDONLY).take_value())) == EISDIR);
  CHECK(code_of(open_image(sys::open("/dev/null", O_RDONLY).take_value())) == EIO);
}

TEST_CASE("an endless pipe of something else is refused at once") {
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  const UniqueFd writer(ends[1]);
  REQUIRE(sys::write_all(writer.get(), Bytes(100, std::byte{'x'})));
  CHECK(code_of(open_image(UniqueFd(ends[0]))) == EINVAL);  // although nobody closed the pipe
}

TEST_CASE("headers") {
  Forgery forgery;
  forgery.header.architecture = "vax";
  CHECK(outcome(forgery.bytes()) == kBadArch);
  forgery = Forgery();
  forgery.header.page_size = 65536;
  CHECK(outcome(forgery.bytes()) == kBadArch);
  forgery = Forgery();
  forgery.header.compression = 2;
  CHECK(outcome(forgery.bytes()) == EINVAL);
}

TEST_CASE("footers") {
  CHECK(with_footer([](Footer& f) { f.manifest_at = ~u64{0} - 3; }) == EIO);
  CHECK(with_footer([](Footer& f) { f.manifest_stored = ~u64{0} - 3; }) == EIO);
  CHECK(with_footer([](Footer& f) { f.manifest_at -= 1; }) == EIO);
  CHECK(with_footer([](Footer& f) { f.manifest_stored += 1; }) == EIO);
  CHECK(with_footer([](Footer& f) { f.manifest_length = u64{1} << 40; }) == EIO);
  CHECK(with_footer([](Footer& f) { f.manifest_length += 1; }) == EIO);
  CHECK(with_footer([](Footer& f) { f.index_at = 0; }) == EIO);
  CHECK(with_footer([](Footer& f) { f.frames = u64{1} << 60; }) == EIO);
  CHECK(with_footer([](Footer& f) { f.frames = 0; }) == EIO);
  CHECK(with_footer([](Footer& f) { f.data_at = 0; }) == EIO);
  CHECK(with_footer([](Footer& f) { f.file_bytes += 1; }) == EIO);
  CHECK(with_footer([](Footer& f) { f.header_hash += 1; }) == EIO);
}

TEST_CASE("frames") {
  const auto with_frame = [](Bytes stored, u32 length) {
    Forgery forgery;
    forgery.frames[0] = {std::move(stored), length};
    return outcome(forgery.bytes());
  };
  const Bytes page(kPageSize, std::byte{7});
  CHECK(with_frame(compressed(page), kPageSize) == 0);
  CHECK(with_frame(compressed(page), 0) == EIO);
  CHECK(with_frame(compressed(page), 100) == EIO);
  CHECK(with_frame(compressed(page), 2 * kPageSize) == EIO);        // more than the manifest has
  CHECK(with_frame(compressed(page), 1U << 30) == EIO);             // too large
  CHECK(with_frame(compressed(Bytes(1 << 24)), kPageSize) == EIO);  // a bomb
  CHECK(with_frame(compressed(Bytes(10)), kPageSize) == EIO);       // too little inside
  CHECK(with_frame(Bytes(100, std::byte{1}), kPageSize) == EIO);    // no zstd
  Forgery none;
  none.frames.clear();
  CHECK(outcome(none.bytes()) == EIO);  // fewer pages than the manifest has
  Forgery many;
  many.frames.push_back(many.frames[0]);
  CHECK(outcome(many.bytes()) == EIO);
}

TEST_CASE("CBOR") {
  CHECK(with_cbor({}) == EINVAL);
  CHECK(with_cbor(std::vector<u8>(100000, 0x81)) == EINVAL);       // nested arrays
  CHECK(with_cbor(std::vector<u8>(100000, 0x9f)) == EINVAL);       // the same, indefinite
  CHECK(with_cbor(std::vector<u8>(100000, 0x7f)) == EINVAL);       // nested indefinite strings
  CHECK(with_cbor(std::vector<u8>(100000, 0xc0)) == EINVAL);       // tags
  CHECK(with_cbor({0x9b, 0xff, 0, 0, 0, 0, 0, 0, 0}) == EINVAL);   // 2^63 elements
  CHECK(with_cbor({0xbb, 0xff, 0, 0, 0, 0, 0, 0, 0}) == EINVAL);   // 2^63 members
  CHECK(with_cbor({0x5b, 0xff, 0, 0, 0, 0, 0, 0, 0}) == EINVAL);   // 2^63 bytes
  CHECK(with_cbor({0xa2, 0x61, 'a', 1, 0x61, 'a', 1}) == EINVAL);  // a member twice
  CHECK(with_cbor({0xa1, 0x61, 0xff, 1}) == EINVAL);               // not UTF-8
  CHECK(with_cbor({0xa1, 1, 1}) == EINVAL);                        // a number as name
  CHECK(with_cbor({0xfb, 0, 0, 0, 0, 0, 0, 0, 0}) == EINVAL);      // floating point
  CHECK(with_cbor({0xa0, 0xa0}) == EINVAL);                        // something behind it
  CHECK(with_cbor({0x3b, 0xff, 0, 0, 0, 0, 0, 0, 0}) == EINVAL);   // below -2^63
  CHECK(with_cbor({0xa0}) == EINVAL);                              // no image
}

TEST_CASE("a small manifest that unpacks to very much") {
  Forgery forgery;
  forgery.set_cbor(Bytes(size_t{1} << 28));
  CHECK(forgery.manifest.size() < 40000);
  CHECK(outcome(forgery.bytes()) == EIO);
  std::vector<u8> small_items(8 << 20, 0x00);  // cheap in the file, dear in memory
  const std::vector<u8> head{0x9a, 0x00, 0x7f, 0xff, 0xfb};
  std::copy(head.begin(), head.end(), small_items.begin());
  CHECK(with_cbor(small_items) == EINVAL);
}

TEST_CASE("manifests that break the rules of the model") {
  CHECK(after([](json&) {}) == 0);
  CHECK(after([](json& j) { j.erase("spaces"); }) == EINVAL);
  CHECK(after([](json& j) { j["spaces"] = 5; }) == EINVAL);
  CHECK(after([](json& j) { j["spaces"] = json::array(); }) == EINVAL);
  CHECK(after([](json& j) { j["processes"][0]["memory"]["space"] = 1; }) == EINVAL);
  CHECK(after([](json& j) { j["processes"][0]["memory"]["space"] = -1; }) == EINVAL);
  CHECK(after([](json& j) { j["processes"][0]["memory"]["space"] = u64{1} << 32; }) == EINVAL);
  CHECK(after([](json& j) { j["processes"][0]["executable"] = 0; }) == EINVAL);
  CHECK(after([](json& j) { j["processes"][0]["threads"] = json::array(); }) == EINVAL);
  CHECK(after([](json& j) { j["processes"].push_back(j["processes"][0]); }) == EINVAL);
  CHECK(after([](json& j) { j["origin"]["page_size"] = 1; }) == EIO);
  CHECK(after([](json& j) { j["origin"]["architecture"] = "vax"; }) == EIO);
  CHECK(after([](json& j) {
          j["processes"][0]["descriptors"] = {
              {{"number", 1}, {"close_on_exec", false}, {"open_file", 0}}};
        }) == EINVAL);
  const auto vmas = [](auto change) {
    return after([&](json& j) { change(j["processes"][0]["memory"]["vmas"]); });
  };
  CHECK(vmas([](json& v) { v.push_back(v[0]); }) == EINVAL);
  CHECK(vmas([](json& v) { v[0]["end"] = 0; }) == EINVAL);
  CHECK(vmas([](json& v) { v[0]["start"] = 0x400001; }) == EINVAL);
  CHECK(vmas([](json& v) { v[0]["resource"] = 3; }) == EINVAL);
  CHECK(vmas([](json& v) { v[0]["kind"] = "file"; }) == EINVAL);
  CHECK(vmas([](json& v) { v[0]["kind"] = "?"; }) == EINVAL);
}

TEST_CASE("runs that lie") {
  const auto runs = [](const std::vector<std::array<u64, 2>>& list) {
    return after([&](json& j) {
      json out = json::array();
      for (const auto& [offset, length] : list) {
        out.push_back({{"offset", offset}, {"length", length}, {"kind", "data"}});
      }
      j["spaces"][0]["runs"] = out;
    });
  };
  CHECK(runs({{0x400000, 0x1000}}) == 0);
  CHECK(runs({{0x400000, 0}}) == EINVAL);
  CHECK(runs({{0x400001, 0x1000}}) == EINVAL);
  CHECK(runs({{0x400000, 0x1001}}) == EINVAL);
  CHECK(runs({{0x401000, 0x1000}}) == EINVAL);                      // outside all areas
  CHECK(runs({{0x400000, 0x2000}}) == EINVAL);                      // beyond its area
  CHECK(runs({{0x400000, 0x1000}, {0x400000, 0x1000}}) == EINVAL);  // overlapping
  CHECK(runs({{~u64{0xfff}, 0x2000}}) == EINVAL);                   // wraps around
  CHECK(runs({{0x400000, ~u64{0xfff}}}) == EINVAL);
  CHECK(runs({}) == EIO);  // the index has a page more
}

TEST_CASE("fields from the future") {
  CHECK(after([](json& j) { j["later"] = {1, 2, 3}; }) == 0);
  CHECK(after([](json& j) { j["processes"][0]["later"] = "x"; }) == 0);
  CHECK(after([](json& j) { j["!later"] = 1; }) == EINVAL);
  CHECK(after([](json& j) { j["processes"][0]["!later"] = 1; }) == EINVAL);
  CHECK(after([](json& j) { j["resources"] = {{{"kind", "quantum-link"}}}; }) == EINVAL);
}

TEST_CASE("a manifest that compresses too well is padded and read") {
  model::Image image = one_area(1);
  image.origin.vdso.resize(size_t{48} << 20);
  PatternPages pages(1, 0);
  const Bytes bytes = written(image, pages);
  REQUIRE(!bytes.empty());
  auto back = opened(bytes);
  REQUIRE(back);
  CHECK(back->image == image);
}

TEST_CASE("random damage behind right checksums neither crashes nor hangs") {
  std::mt19937_64 random(1);
  for (u64 seed = 0; seed < 4; ++seed) {
    const model::Image image = image_for_here(seed);
    const std::vector<u8> good = json::to_cbor(manifest_of(image));
    for (int round = 0; round < 250; ++round) {
      std::vector<u8> bad = good;
      for (u64 i = 0; i <= random() % 4; ++i)
        bad[random() % bad.size()] = static_cast<u8>(random());
      Forgery forgery(image);
      forgery.set_cbor(bytes_from(bad));
      (void)outcome(forgery.bytes());
    }
  }
}

}  // namespace stasis::format
