// The model as JSON values, walking the field lists.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "model/json.h"
#include "model/names.h"
#include "model/shapes.h"

namespace stasis::model {
namespace {

using nlohmann::json;

json binary(const void* data, size_t size) {
  const auto* bytes = static_cast<const u8*>(data);
  return json::binary(std::vector<u8>(bytes, bytes + size));
}

class Writer {
 public:
  explicit Writer(JsonStyle style) : people_(style == JsonStyle::kPeople) {}

  template <class T>
  json write(const T& value) const {
    if constexpr (Address<T>) {
      return people_ ? json(fmt::format("{:#x}", value.value)) : json(value.value);
    } else if constexpr (Blob<T>) {
      return people_ ? json(to_hex(value)) : binary(value.data(), value.size());
    } else if constexpr (Text<T>) {
      return people_ || is_utf8(value) ? json(value) : binary(value.data(), value.size());
    } else if constexpr (Enumeration<T>) {
      return json(std::string(name_of(value)));
    } else if constexpr (Optional<T>) {
      return value ? write(*value) : json(nullptr);
    } else if constexpr (Sequence<T>) {
      json array = json::array();
      for (const auto& each : value) array.push_back(write(each));
      return array;
    } else if constexpr (Choice<T>) {
      return std::visit([&](const auto& chosen) { return write_chosen(chosen); }, value);
    } else if constexpr (HasFields<T>) {
      return write_struct(value);
    } else {
      return json(value);
    }
  }

 private:
  template <class T>
  json write_chosen(const T& chosen) const {
    json object = write_struct(chosen);
    object["kind"] = std::string(T::kKind);
    return object;
  }

  // Optional fields at their default are left out, so that readers that do not know them read on.
  template <class T>
  json write_struct(const T& value) const {
    [[maybe_unused]] static const T kDefault{};
    json object = json::object();
    for_each_field(value, [&](const auto& field, const auto& member) {
      if (!field.required && member == kDefault.*(field.member)) return;
      object[std::string(field.name)] = write(member);
    });
    return object;
  }

  bool people_;
};

}  // namespace

json to_json(const Image& image, JsonStyle style) {
  return Writer(style).write(image);
}

}  // namespace stasis::model
