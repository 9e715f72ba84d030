// Small text helpers of the JSON visitors.
#include <array>

#include "model/json.h"

namespace stasis::model {
namespace {

struct Utf8Class {
  unsigned char first_low, first_high, second_low, second_high;
  size_t length;
};

// Well-formed sequences beyond ASCII (Unicode, table 3-7); continuations are 80..BF.
constexpr std::array<Utf8Class, 8> kUtf8Classes{{{0xC2, 0xDF, 0x80, 0xBF, 2},
                                                 {0xE0, 0xE0, 0xA0, 0xBF, 3},
                                                 {0xE1, 0xEC, 0x80, 0xBF, 3},
                                                 {0xED, 0xED, 0x80, 0x9F, 3},
                                                 {0xEE, 0xEF, 0x80, 0xBF, 3},
                                                 {0xF0, 0xF0, 0x90, 0xBF, 4},
                                                 {0xF1, 0xF3, 0x80, 0xBF, 4},
                                                 {0xF4, 0xF4, 0x80, 0x8F, 4}}};

// Length of the sequence that `text` begins with; 0 if it is not well-formed.
size_t sequence_length(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  if (byte(0) < 0x80) return 1;
  for (const auto& each : kUtf8Classes) {
    if (byte(0) < each.first_low || byte(0) > each.first_high) continue;
    if (text.size() < each.length) return 0;
    if (byte(1) < each.second_low || byte(1) > each.second_high) return 0;
    for (size_t i = 2; i < each.length; ++i) {
      if (byte(i) < 0x80 || byte(i) > 0xBF) return 0;
    }
    return each.length;
  }
  return 0;
}

}  // namespace

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const size_t length = sequence_length(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

std::string to_hex(ByteView bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string out;
  out.reserve(bytes.size() * 2);
  for (const std::byte byte : bytes) {
    out += kDigits[std::to_integer<u8>(byte) >> 4];
    out += kDigits[std::to_integer<u8>(byte) & 15];
  }
  return out;
}

}  // namespace stasis::model
