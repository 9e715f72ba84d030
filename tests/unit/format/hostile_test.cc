// Files made to hurt the reader: all checksums are right, what they protect is not.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
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

#if defined(__SANITIZE_ADDRESS__)
#define ADDRESS_SANITIZER  // gcc
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ADDRESS_SANITIZER  // clang
#endif
#endif

// Of what must not cost memory. With the address sanitizer that cannot be seen, and is slow.
#ifdef ADDRESS_SANITIZER
constexpr u32 kLarge = u32{4} << 20;
#else
constexpr u32 kLarge = u32{64} << 20;
#endif

// The head of an array of kLarge elements.
Bytes large_head() {
  Bytes head{std::byte{0x9a}};
  for (const int shift : {24, 16, 8, 0}) head.push_back(std::byte(kLarge >> shift & 0xff));
  return head;
}

// While it lives, this process cannot have more than 32 MiB of memory beyond what it has. Not with
// the address sanitizer, which reserves terabytes.
class LittleMemory {
 public:
  LittleMemory() {
#ifndef ADDRESS_SANITIZER
    const auto pages = sys::read_file("/proc/self/statm");
    REQUIRE(pages);
    REQUIRE(::getrlimit(RLIMIT_AS, &before_) == 0);
    const rlimit now{std::stoull(*pages) * kPageSize + (u64{32} << 20), before_.rlim_max};
    REQUIRE(::setrlimit(RLIMIT_AS, &now) == 0);
#endif
  }
  ~LittleMemory() {
#ifndef ADDRESS_SANITIZER
    (void)::setrlimit(RLIMIT_AS, &before_);
#endif
  }
  LittleMemory(const LittleMemory&) = delete;

 private:
  [[maybe_unused]] rlimit before_{};
};

// Of a file that is a hole between its header and `footer`, which is right but for `change`.
template <class Change>
Result<OpenedImage> with_holes(u64 size, Change change) {
  Forgery forgery;
  Footer footer = forgery.footer();
  footer.file_bytes = size;
  change(footer);
  UniqueFd file = file_of(encode(forgery.header));
  REQUIRE(::ftruncate(file.get(), static_cast<off_t>(size)) == 0);
  REQUIRE(sys::pwrite_all(file.get(), encode(footer), size - kFooterBytes));
  const LittleMemory little;
  return open_image(std::move(file));
}

// CBOR of a good manifest with one member more, whose value is `value`.
Bytes with_member(std::string_view name, const Bytes& value) {
  std::vector<u8> cbor = json::to_cbor(manifest_of(one_area(1)));
  REQUIRE(cbor[0] >= 0xa0);
  REQUIRE(cbor[0] < 0xb7);
  ++cbor[0];
  cbor.push_back(static_cast<u8>(0x60 + name.size()));
  cbor.insert(cbor.end(), name.begin(), name.end());
  Bytes out = bytes_from(cbor);
  out.insert(out.end(), value.begin(), value.end());
  return out;
}

int with_little_memory(const Bytes& cbor) {
  Forgery forgery;
  forgery.set_cbor(cbor);
  UniqueFd file = file_of(forgery.bytes());
  const LittleMemory little;
  return code_of(open_image(std::move(file)));
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

TEST_CASE("sizes that are holes in the file cost no memory") {
  constexpr u64 kSize = u64{1} << 42;
  const auto index = with_holes(kSize, [](Footer& f) {
    f.manifest_at = kSize / 2;
    f.index_at = f.manifest_at + f.manifest_stored;
    f.index_at += (kSize - kFooterBytes - f.index_at) % kIndexEntryBytes;
    f.manifest_at = f.index_at - f.manifest_stored;
    f.frames = (kSize - kFooterBytes - f.index_at) / kIndexEntryBytes;
  });
  CHECK(code_of(index) == EIO);
  const auto manifest = [](u64 size, u64 length) {
    return with_holes(size, [size, length](Footer& f) {
      f.manifest_at = kHeaderBytes;
      f.index_at = size - kFooterBytes;
      f.manifest_stored = f.index_at - f.manifest_at;
      f.manifest_length = length;
      f.frames = 0;
    });
  };
  CHECK(code_of(manifest(kSize, u64{1} << 30)) == EIO);  // more than such a length can be
  CHECK(code_of(manifest(u64{1} << 27, u64{1} << 28)) == EIO);
  CHECK(code_of(manifest(u64{1} << 27, u64{1} << 62)) == EIO);
}

TEST_CASE("what is not known is read past without memory, however large it is") {
  std::mt19937_64 random(7);
  Bytes array = large_head();
  for (u32 i = 0; i < kLarge; ++i) array.push_back(std::byte(random() % 24));
  CHECK(with_little_memory(with_member("later", array)) == 0);
  array[0] = std::byte{0x5a};  // a string of as many bytes
  CHECK(with_little_memory(with_member("later", array)) == 0);
  array[0] = std::byte{0x9a};
  CHECK(with_little_memory(with_member("!later", array)) == EINVAL);
  CHECK(with_little_memory(with_member("spaces", array)) == EINVAL);
}

TEST_CASE("what is not known is as strict as what is") {
  const auto later = [](const std::vector<u8>& value) {
    return with_little_memory(with_member("later", bytes_from(value)));
  };
  CHECK(later({0x82, 0x01, 0xa1, 0x61, 'a', 0xf6}) == 0);
  CHECK(later(std::vector<u8>(100, 0x81)) == EINVAL);     // nested too deep
  CHECK(later(std::vector<u8>(100000, 0x9f)) == EINVAL);  // indefinite
  CHECK(later({0xa1, 0x01, 0x01}) == EINVAL);             // a number as name
  CHECK(later({0xa1, 0x61, 'a', 0xa1, 0x01, 0x01}) == EINVAL);
  CHECK(later({0xc0, 0x01}) == EINVAL);                    // a tag
  CHECK(later({0xfb, 0, 0, 0, 0, 0, 0, 0, 0}) == EINVAL);  // floating point
  CHECK(later({0x82, 0x01}) == EINVAL);                    // ends early
  CHECK(later({0x01, 0x01}) == EINVAL);                    // something behind it
  CHECK(later({0xbb, 0xff, 0, 0, 0, 0, 0, 0, 0}) == EINVAL);
}

TEST_CASE("a list that takes much more memory than bytes of the file is refused") {
  Forgery forgery;
  json manifest = manifest_of(one_area(1));
  manifest["processes"][0]["credentials"].erase("groups");
  std::vector<u8> cbor = json::to_cbor(manifest);
  const std::string name = "credentials";
  const auto at = std::search(cbor.begin(), cbor.end(), name.begin(), name.end()) + 11;
  *at = static_cast<u8>(*at + 1);
  std::vector<u8> member{0x66, 'g', 'r', 'o', 'u', 'p', 's'};
  member.insert(member.end(), {0x9a, 0x04, 0, 0, 0});
  member.resize(member.size() + 0x04000000);
  cbor.insert(at + 1, member.begin(), member.end());
  CHECK(with_little_memory(bytes_from(cbor)) == EIO);  // it unpacks to very much
}

TEST_CASE("members of a wrong shape are told by their path") {
  const auto message = [](auto change) {
    json manifest = manifest_of(one_area(1));
    change(manifest["processes"][0]);
    Forgery forgery;
    forgery.set_manifest(manifest);
    const auto image = opened(forgery.bytes());
    return image ? std::string() : image.error().message();
  };
  CHECK(message([](json& p) { p["threads"][0]["tid"] = "seven"; }) ==
        "manifest: processes: [0]: threads: [0]: tid: expected an integer, found string");
  CHECK(message([](json& p) { p["pid"] = u64{1} << 31; }) ==
        "manifest: processes: [0]: pid: 2147483648 is out of range");
  CHECK(message([](json& p) { p["pid"] = -(i64{1} << 31) - 1; }) ==
        "manifest: processes: [0]: pid: -2147483649 is out of range");
  CHECK(!message([](json& p) { p["pid"] = ~u64{0}; }).empty());
  CHECK(!message([](json& p) { p["pid"] = 1.5; }).empty());
  CHECK(!message([](json& p) { p["umask"] = -1; }).empty());
  CHECK(message([](json& p) { p.erase("umask"); }) ==
        "manifest: processes: [0]: 'umask' is missing");
  CHECK(message([](json& p) { p["umask"] = nullptr; }) ==
        "manifest: processes: [0]: umask: expected an integer, found null");
}

TEST_CASE("a member that is there twice is refused") {
  const auto twice = [](std::string_view name, u8 value) {
    return with_little_memory(with_member(name, bytes_from({value})));
  };
  CHECK(twice("spaces", 0x80) == EINVAL);
  CHECK(twice("later", 0x80) == 0);
}

TEST_CASE("manifests that break the rules of the model") {
  CHECK(after([](json&) {}) == 0);
  CHECK(after([](json& j) { j["processes"] = json::array(); }) == EINVAL);
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

}  // namespace stasis::format
