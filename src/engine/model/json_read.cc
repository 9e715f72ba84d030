// JSON values back to the model. What comes in is hostile: every shape and range is checked, and
// an error names the member by its path.
#include <fmt/format.h>

#include <cerrno>
#include <charconv>
#include <nlohmann/json.hpp>
#include <utility>

#include "model/json.h"
#include "model/names.h"
#include "model/shapes.h"

namespace stasis::model {
namespace {

using nlohmann::json;

Error wrong(std::string_view expected, const json& found) {
  return fail(EINVAL, fmt::format("expected {}, found {}", expected, found.type_name()));
}

std::string printable(std::string_view name) {
  std::string out;
  for (const char c : name.substr(0, 40)) out += c >= ' ' && c <= '~' ? c : '?';
  return out;
}

Result<u64> parse_hex_number(const std::string& text) {
  u64 value = 0;
  const char* end = text.data() + text.size();
  if (text.starts_with("0x")) {
    const auto [stop, problem] = std::from_chars(text.data() + 2, end, value, 16);
    if (problem == std::errc{} && stop == end) return value;
  }
  return fail(EINVAL, "expected an address like 0x1000");
}

Result<void> parse_hex_bytes(const std::string& text, Bytes& out) {
  if (text.size() % 2 != 0) return fail(EINVAL, "an odd number of hexadecimal digits");
  out.resize(text.size() / 2);
  for (size_t i = 0; i < out.size(); ++i) {
    u8 byte = 0;
    const char* start = text.data() + 2 * i;
    const auto [stop, problem] = std::from_chars(start, start + 2, byte, 16);
    if (problem != std::errc{} || stop != start + 2) return fail(EINVAL, "not hexadecimal");
    out[i] = std::byte{byte};
  }
  return {};
}

// A class only so that its members may call each other in any order.
class Reader {
 public:
  template <Integer T>
  static Result<void> read(const json& in, T& out) {
    if (!in.is_number_integer()) return wrong("an integer", in);
    const bool fits =
        in.is_number_unsigned() ? std::in_range<T>(in.get<u64>()) : std::in_range<T>(in.get<i64>());
    if (!fits) return fail(EINVAL, fmt::format("{} is out of range", in.dump()));
    out = in.get<T>();
    return {};
  }

  template <Boolean T>
  static Result<void> read(const json& in, T& out) {
    if (!in.is_boolean()) return wrong("true or false", in);
    out = in.get<bool>();
    return {};
  }

  template <Address T>
  static Result<void> read(const json& in, T& out) {
    if (in.is_string()) {
      out.value = TRY(parse_hex_number(in.get_ref<const std::string&>()));
      return {};
    }
    return read(in, out.value);
  }

  template <Blob T>
  static Result<void> read(const json& in, T& out) {
    if (in.is_string()) return parse_hex_bytes(in.get_ref<const std::string&>(), out);
    if (!in.is_binary()) return wrong("bytes", in);
    const auto bytes = std::as_bytes(std::span(in.get_binary()));
    out.assign(bytes.begin(), bytes.end());
    return {};
  }

  template <Text T>
  static Result<void> read(const json& in, T& out) {
    if (in.is_binary()) {
      out.assign(in.get_binary().begin(), in.get_binary().end());
      return {};
    }
    if (!in.is_string()) return wrong("a string", in);
    out = in.get_ref<const std::string&>();
    return {};
  }

  template <Enumeration T>
  static Result<void> read(const json& in, T& out) {
    if (!in.is_string()) return wrong("a name", in);
    const auto& text = in.get_ref<const std::string&>();
    for (const T value : EnumValues<T>::kAll) {
      if (name_of(value) != text) continue;
      out = value;
      return {};
    }
    return fail(EINVAL, fmt::format("unknown name '{}'", printable(text)));
  }

  template <Sequence T>
  static Result<void> read(const json& in, T& out) {
    if (!in.is_array()) return wrong("a list", in);
    out.resize(in.size());
    for (size_t i = 0; i < out.size(); ++i)
      TRY(read(in[i], out[i]).context(fmt::format("[{}]", i)));
    return {};
  }

  template <Optional T>
  static Result<void> read(const json& in, T& out) {
    if (in.is_null()) return {};
    return read(in, out.emplace());
  }

  template <HasFields T>
  static Result<void> read_known(const json& in, T& out) {
    Result<void> result;
    for_each_field(out, [&](const auto& field, auto& member) {
      if (!result) return;
      const auto found = in.find(field.name);
      if (found != in.end()) {
        result = read(*found, member).context(std::string(field.name));
      } else if (field.required) {
        result = fail(EINVAL, fmt::format("'{}' is missing", field.name));
      }
    });
    return result;
  }

  // A name that begins with '!' belongs to a field that may not be skipped (docs/format.md).
  template <HasFields T>
  static Result<void> refuse_unknown(const json& in) {
    for (const auto& [name, value] : in.items()) {
      if (!name.starts_with('!')) continue;
      bool known = false;
      std::apply([&](const auto&... field) { known = ((field.name == name) || ...); }, T::fields());
      if (known) continue;
      return fail(EINVAL, fmt::format("'{}' is not known to this version", printable(name)),
                  "use the version of Stasis that wrote the image, or a newer one");
    }
    return {};
  }

  template <HasFields T>
  static Result<void> read(const json& in, T& out) {
    if (!in.is_object()) return wrong("a map", in);
    TRY(refuse_unknown<T>(in));
    return read_known(in, out);
  }

  template <class Variant, size_t I = 0>
  static Result<void> read_kind(const std::string& kind, const json& in, Variant& out) {
    if constexpr (I == std::variant_size_v<Variant>) {
      return fail(EINVAL, fmt::format("unknown kind '{}'", printable(kind)),
                  "use the version of Stasis that wrote the image, or a newer one");
    } else {
      using Kind = std::variant_alternative_t<I, Variant>;
      if (kind != Kind::kKind) return read_kind<Variant, I + 1>(kind, in, out);
      return read(in, out.template emplace<I>()).context(kind);
    }
  }

  template <Choice T>
  static Result<void> read(const json& in, T& out) {
    if (!in.is_object()) return wrong("a map", in);
    const auto kind = in.find("kind");
    if (kind == in.end() || !kind->is_string()) return fail(EINVAL, "'kind' is missing");
    return read_kind(kind->template get_ref<const std::string&>(), in, out);
  }
};

}  // namespace

Result<Image> image_from_json(const json& in) {
  Image image;
  TRY(Reader::read(in, image));
  return image;
}

}  // namespace stasis::model
