// A strict CBOR reader that builds nlohmann values.
#include "format/cbor.h"

#include <fmt/format.h>

#include <cerrno>
#include <nlohmann/json.hpp>

#include "model/json.h"

namespace stasis::format {
namespace {

using nlohmann::json;

enum Major : u8 { kUnsigned, kNegative, kBytes, kText, kArray, kMap, kTag, kSimple };

struct Head {
  u8 major = 0;
  u8 detail = 0;  // the low five bits
  u64 value = 0;
};

class Reader {
 public:
  Reader(ByteView bytes, u64 budget) : bytes_(bytes), budget_(budget) {}

  Result<json> document() {
    json value = TRY(item(0));
    if (at_ != bytes_.size()) return wrong("bytes after the end");
    return value;
  }

 private:
  [[nodiscard]] Error wrong(std::string_view what) const {
    return fail(EINVAL, fmt::format("CBOR at byte {}: {}", at_, what));
  }
  [[nodiscard]] u64 left() const { return bytes_.size() - at_; }

  Result<void> charge(u64 cost) {
    if (cost > budget_) return wrong("too large when decoded");
    budget_ -= cost;
    return {};
  }

  Result<Head> head() {
    if (left() == 0) return wrong("ends early");
    const u8 first = std::to_integer<u8>(bytes_[at_++]);
    Head head{static_cast<u8>(first >> 5), static_cast<u8>(first & 31), 0};
    if (head.detail < 24) {
      head.value = head.detail;
      return head;
    }
    if (head.detail > 27) return wrong("indefinite length or reserved form");
    const u64 size = u64{1} << (head.detail - 24);
    if (left() < size) return wrong("ends early");
    for (u64 i = 0; i < size; ++i)
      head.value = head.value << 8 | std::to_integer<u8>(bytes_[at_++]);
    return head;
  }

  Result<ByteView> take(u64 size) {
    if (size > left()) return wrong("a string is longer than what is left");
    const ByteView out = bytes_.subspan(at_, size);
    at_ += size;
    return out;
  }

  Result<std::string> text(const Head& head) {
    const ByteView bytes = TRY(take(head.value));
    TRY(charge(bytes.size()));
    std::string out(reinterpret_cast<const char*>(bytes.data()), bytes.size());  // NOLINT
    if (!model::is_utf8(out)) return wrong("a text string is not UTF-8");
    return out;
  }

  Result<json> item(int depth) {
    if (depth > kMaxCborDepth) return wrong("nested too deep");
    TRY(charge(kCborItemCost));
    const Head head = TRY(this->head());
    switch (head.major) {
      case kUnsigned:
        return json(head.value);
      case kNegative:
        return negative(head);
      case kBytes:
        return bytes(head);
      case kText:
        return json(TRY(text(head)));
      case kArray:
        return array(head, depth);
      case kMap:
        return map(head, depth);
      case kSimple:
        return simple(head);
      default:
        return wrong("a tag");
    }
  }

  Result<json> negative(const Head& head) {
    if (head.value > static_cast<u64>(INT64_MAX)) return wrong("a number below -2^63");
    return json(-1 - static_cast<i64>(head.value));
  }

  Result<json> bytes(const Head& head) {
    const ByteView bytes = TRY(take(head.value));
    TRY(charge(bytes.size()));
    const auto* data = reinterpret_cast<const u8*>(bytes.data());  // NOLINT: bytes are bytes
    return json::binary(std::vector<u8>(data, data + bytes.size()));
  }

  Result<json> simple(const Head& head) {
    if (head.detail == 20 || head.detail == 21) return json(head.detail == 21);
    if (head.detail == 22) return json(nullptr);
    return wrong("neither true, false nor null");
  }

  // A length is only believed one element at a time, so it costs nothing by itself.
  Result<json> array(const Head& head, int depth) {
    json out = json::array();
    if (head.value > left()) return wrong("more elements than bytes left");
    for (u64 i = 0; i < head.value; ++i) out.push_back(TRY(item(depth + 1)));
    return out;
  }

  Result<json> map(const Head& head, int depth) {
    json out = json::object();
    if (head.value > left() / 2) return wrong("more members than bytes left");
    for (u64 i = 0; i < head.value; ++i) {
      const Head name = TRY(this->head());
      if (name.major != kText) return wrong("the name of a member is not a text string");
      std::string key = TRY(text(name));
      json value = TRY(item(depth + 1));
      if (!out.emplace(std::move(key), std::move(value)).second) return wrong("a member twice");
    }
    return out;
  }

  ByteView bytes_;
  u64 budget_;
  size_t at_ = 0;
};

u64 count_items(const json& value) {
  u64 count = 1;
  if (value.is_structured()) {
    for (const auto& each : value) count += count_items(each);
  }
  return count;
}

}  // namespace

Result<json> read_cbor(ByteView bytes, u64 budget) {
  return Reader(bytes, budget).document();
}

u64 cbor_cost(const json& value, u64 encoded_bytes) {
  return encoded_bytes + kCborItemCost * count_items(value);
}

}  // namespace stasis::format
