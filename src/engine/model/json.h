// A model::Image <-> nlohmann::json, by the field lists (docs/format.md, "Manifest"). Two styles:
// for machines (bytes are binary values, addresses integers) and for people (bytes and addresses
// are hexadecimal strings). Reading takes either. It does not know files nor CBOR; those are in
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
// EINVAL with the path of the member that is missing, unknown but required, or of a wrong shape.
Result<Image> image_from_json(const nlohmann::json& json);

// Whether `text` is well-formed UTF-8.
bool is_utf8(std::string_view text);
std::string to_hex(ByteView bytes);

}  // namespace stasis::model
