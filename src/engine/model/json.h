// A model::Image to nlohmann::json, by the field lists (docs/format.md, "Manifest"). Two styles:
// for machines (bytes are binary values, addresses integers) and for people (bytes and addresses
// are hexadecimal strings). It does not know files nor CBOR, nor how images are read; those are in
// engine/format.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "base/result.h"
#include "model/image.h"

namespace stasis::model {

enum class JsonStyle { kMachine, kPeople };

nlohmann::json to_json(const Image& image, JsonStyle style);
// Whether `text` is well-formed UTF-8.
bool is_utf8(std::string_view text);
std::string to_hex(ByteView bytes);

}  // namespace stasis::model
