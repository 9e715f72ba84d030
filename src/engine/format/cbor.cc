// A strict CBOR reader that holds one block of its input.
#include "format/cbor.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <nlohmann/json.hpp>

namespace stasis::format {
namespace {

constexpr u64 kItemCost = 128;
constexpr size_t kLongestName = 64;

u64 count_items(const nlohmann::json& value) {
  u64 count = 1;
  if (value.is_structured()) {
    for (const auto& each : value) count += count_items(each);
  }
  return count;
}

// The arrays and maps that a skip is inside of.
struct Level {
  u64 left = 0;  // items, where a member of a map counts as two
  bool map = false;
};

}  // namespace

Result<void> MemoryBudget::charge(u64 bytes) {
  if (bytes > left_) return fail(EINVAL, "too large when decoded");
  left_ -= bytes;
  return {};
}

Error CborReader::wrong(std::string_view what) const {
  return fail(EINVAL, fmt::format("CBOR at byte {}: {}", at_, what));
}

Result<void> CborReader::refill() {
  if (!block_.empty()) return {};
  if (left() == 0) return wrong("ends early");
  block_ = TRY(next_());
  if (block_.empty()) return wrong("ends early");
  block_ = block_.first(std::min<u64>(block_.size(), left()));
  return {};
}

template <class Use>
Result<void> CborReader::take(u64 count, Use use) {
  while (count > 0) {
    TRY(refill());
    const ByteView part = block_.first(std::min<u64>(count, block_.size()));
    if (recording_ != nullptr) {
      TRY(budget_.charge(part.size()));
      recording_->insert(recording_->end(), part.begin(), part.end());
    }
    use(part);
    block_ = block_.subspan(part.size());
    at_ += part.size();
    count -= part.size();
  }
  return {};
}

// A length beyond the input's end is never believed.
Result<CborHead> CborReader::checked(const CborHead& head) const {
  switch (head.type) {
    case CborType::kBytes:
    case CborType::kText:
      if (head.value > left()) return wrong("a string is longer than what is left");
      break;
    case CborType::kArray:
      if (head.value > left()) return wrong("more elements than bytes left");
      break;
    case CborType::kMap:
      if (head.value > left() / 2) return wrong("more members than bytes left");
      break;
    case CborType::kTag:
      return wrong("a tag");
    case CborType::kSimple:
      if (!head.is_bool() && !head.is_null()) return wrong("neither true, false nor null");
      break;
    case CborType::kUnsigned:
    case CborType::kNegative:
      break;
  }
  return head;
}

Result<CborHead> CborReader::head() {
  CborHead head;
  TRY(take(1, [&head](ByteView part) {
    const u8 first = std::to_integer<u8>(part[0]);
    head.type = static_cast<CborType>(first >> 5);
    head.detail = first & 31;
    head.value = head.detail;
  }));
  if (head.detail < 24) return checked(head);
  if (head.detail > 27) return wrong("indefinite length or reserved form");
  head.value = 0;
  TRY(take(u64{1} << (head.detail - 24), [&head](ByteView part) {
    for (const std::byte each : part) head.value = head.value << 8 | std::to_integer<u8>(each);
  }));
  return checked(head);
}

Result<Bytes> CborReader::bytes(const CborHead& head) {
  TRY(budget_.charge(head.value));
  Bytes out;
  TRY(take(head.value, [&out](ByteView part) { out.insert(out.end(), part.begin(), part.end()); }));
  return out;
}

Result<std::string> CborReader::string(const CborHead& head) {
  TRY(budget_.charge(head.value));
  std::string out;
  TRY(take(head.value, [&out](ByteView part) {
    for (const std::byte each : part) out += static_cast<char>(each);
  }));
  return out;
}

Result<std::string> CborReader::name() {
  const CborHead head = TRY(this->head());
  if (head.type != CborType::kText) return wrong("the name of a member is not a text string");
  std::string out;
  TRY(take(head.value, [&out](ByteView part) {
    for (const std::byte each : part.first(std::min(part.size(), kLongestName - out.size()))) {
      out += static_cast<char>(each);
    }
  }));
  return out;
}

Result<void> CborReader::enter() {
  if (++depth_ > kMaxCborDepth) return wrong("nested too deep");
  return {};
}

Result<void> CborReader::skip() {
  std::array<Level, kMaxCborDepth> levels;
  size_t inside = 0;
  do {
    const CborHead head = TRY(this->head());
    if (inside > 0) {
      Level& level = levels[inside - 1];
      if (level.map && level.left % 2 == 0 && head.type != CborType::kText) {
        return wrong("the name of a member is not a text string");
      }
      --level.left;
    }
    if (head.type == CborType::kBytes || head.type == CborType::kText) {
      TRY(take(head.value, [](ByteView) {}));
    } else if (head.type == CborType::kArray || head.type == CborType::kMap) {
      const bool map = head.type == CborType::kMap;
      if (depth_ + static_cast<int>(inside) >= kMaxCborDepth) return wrong("nested too deep");
      levels[inside++] = {map ? head.value * 2 : head.value, map};
    }
    while (inside > 0 && levels[inside - 1].left == 0) --inside;
  } while (inside > 0);
  return {};
}

Result<Bytes> CborReader::record() {
  Bytes out;
  recording_ = &out;
  auto result = skip();
  recording_ = nullptr;
  TRY(std::move(result));
  return out;
}

Result<void> CborReader::finish() {
  if (left() > 0) return wrong("bytes after the end");
  return {};
}

u64 cbor_cost(const nlohmann::json& value, u64 encoded_bytes) {
  return encoded_bytes + kItemCost * count_items(value);
}

}  // namespace stasis::format
