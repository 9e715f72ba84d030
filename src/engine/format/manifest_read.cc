// CBOR values to the members of the model. What comes in is hostile: every shape and range is
// checked, and an error names the member by its path. Members that are not known are read past
// without building a value.
#include "format/manifest_read.h"

#include <fmt/format.h>

#include <cerrno>
#include <optional>
#include <utility>

#include "format/manifest_cost.h"
#include "model/json.h"
#include "model/names.h"
#include "model/shapes.h"

namespace stasis::format {
namespace {

constexpr std::string_view kNewer =
    "use the version of Stasis that wrote the image, or a newer one";
constexpr std::string_view kKindName = "kind";

std::string_view name_of_type(const CborHead& head) {
  switch (head.type) {
    case CborType::kUnsigned:
    case CborType::kNegative:
      return "number";
    case CborType::kBytes:
      return "binary";
    case CborType::kText:
      return "string";
    case CborType::kArray:
      return "array";
    case CborType::kMap:
      return "object";
    default:
      return head.is_null() ? "null" : "boolean";
  }
}

Error wrong(std::string_view expected, const CborHead& found) {
  return fail(EINVAL, fmt::format("expected {}, found {}", expected, name_of_type(found)));
}

std::string printable(std::string_view name) {
  std::string out;
  for (const char c : name.substr(0, 40)) out += c >= ' ' && c <= '~' ? c : '?';
  return out;
}

Error twice(std::string_view name) {
  return fail(EINVAL, fmt::format("'{}' is there twice", printable(name)));
}

// A name that begins with '!' belongs to a field that may not be skipped (docs/format.md).
Result<void> may_skip(std::string_view name) {
  if (!name.starts_with('!')) return {};
  return fail(EINVAL, fmt::format("'{}' is not known to this version", printable(name)),
              std::string(kNewer));
}

template <model::HasFields T>
bool knows(std::string_view name) {
  return std::apply([&](const auto&... field) { return ((field.name == name) || ...); },
                    T::fields());
}
template <class... T>
bool any_knows(std::string_view name, const std::variant<T...>*) {
  return (knows<T>(name) || ...);
}

// A member of a map whose kind was not known yet when it came.
struct Recorded {
  std::string name;
  Bytes item;
};

class Decoder {
 public:
  explicit Decoder(CborReader& reader) : reader_(reader) {}

  template <class T>
  Result<void> item(T& out) {
    return read(TRY(reader_.head()), out);
  }

 private:
  template <model::Integer T>
  Result<void> read(const CborHead& head, T& out) {
    if (head.type != CborType::kUnsigned && head.type != CborType::kNegative) {
      return wrong("an integer", head);
    }
    if (head.type == CborType::kUnsigned) return number(head.value, out);
    if (head.value > static_cast<u64>(INT64_MAX)) return fail(EINVAL, "a number below -2^63");
    return number(-1 - static_cast<i64>(head.value), out);
  }

  template <class From, class T>
  static Result<void> number(From value, T& out) {
    if (!std::in_range<T>(value)) return fail(EINVAL, fmt::format("{} is out of range", value));
    out = static_cast<T>(value);
    return {};
  }

  template <model::Boolean T>
  Result<void> read(const CborHead& head, T& out) {
    if (!head.is_bool()) return wrong("true or false", head);
    out = head.is_true();
    return {};
  }

  template <model::Address T>
  Result<void> read(const CborHead& head, T& out) {
    return read(head, out.value);
  }

  template <model::Blob T>
  Result<void> read(const CborHead& head, T& out) {
    if (head.type != CborType::kBytes) return wrong("bytes", head);
    out = TRY(reader_.bytes(head));
    return {};
  }

  template <model::Text T>
  Result<void> read(const CborHead& head, T& out) {
    if (head.type != CborType::kText && head.type != CborType::kBytes) {
      return wrong("a string", head);
    }
    out = TRY(reader_.string(head));
    if (head.type == CborType::kText && !model::is_utf8(out)) {
      return reader_.wrong("a text string is not UTF-8");
    }
    return {};
  }

  template <model::Enumeration T>
  Result<void> read(const CborHead& head, T& out) {
    if (head.type != CborType::kText) return wrong("a name", head);
    const std::string text = TRY(reader_.string(head));
    for (const T value : model::EnumValues<T>::kAll) {
      if (name_of(value) != text) continue;
      out = value;
      return {};
    }
    return fail(EINVAL, fmt::format("unknown name '{}'", printable(text)));
  }

  // A length is believed one element at a time, so it costs nothing by itself.
  template <model::Sequence T>
  Result<void> read(const CborHead& head, T& out) {
    if (head.type != CborType::kArray) return wrong("a list", head);
    static_assert(is_cheap<typename T::value_type>());
    TRY(reader_.enter());
    out.clear();
    for (u64 i = 0; i < head.value; ++i) {
      TRY(reader_.budget().charge(sizeof(typename T::value_type)));
      TRY(item(out.emplace_back()).context(fmt::format("[{}]", i)));
    }
    reader_.leave();
    return {};
  }

  template <model::Optional T>
  Result<void> read(const CborHead& head, T& out) {
    out.reset();
    if (head.is_null()) return {};
    return read(head, out.emplace());
  }

  template <model::HasFields T>
  Result<void> read(const CborHead& head, T& out) {
    if (head.type != CborType::kMap) return wrong("a map", head);
    TRY(reader_.enter());
    u64 seen = 0;
    for (u64 i = 0; i < head.value; ++i) {
      const std::string name = TRY(reader_.name());
      if (knows<T>(name)) {
        TRY(member(name, out, seen));
      } else {
        TRY(may_skip(name));
        TRY(reader_.skip());
      }
    }
    reader_.leave();
    return complete<T>(seen);
  }

  // The kind of a map may come behind members whose shape it tells: those that some kind knows are
  // kept as they are until all have come.
  template <model::Choice T>
  Result<void> read(const CborHead& head, T& out) {
    if (head.type != CborType::kMap) return wrong("a map", head);
    TRY(reader_.enter());
    std::optional<std::string> kind;
    std::vector<Recorded> members;
    for (u64 i = 0; i < head.value; ++i) {
      std::string name = TRY(reader_.name());
      if (name == kKindName) {
        if (kind) return twice(name);
        const CborHead value = TRY(reader_.head());
        if (value.type != CborType::kText) return fail(EINVAL, "'kind' is missing");
        kind = TRY(reader_.string(value));
      } else if (any_knows(name, &out)) {
        TRY(reader_.budget().charge(sizeof(Recorded)));
        Bytes item = TRY(reader_.record());
        members.push_back({std::move(name), std::move(item)});
      } else {
        TRY(may_skip(name));
        TRY(reader_.skip());
      }
    }
    reader_.leave();
    if (!kind) return fail(EINVAL, "'kind' is missing");
    return chosen(*kind, members, out);
  }

  template <class Variant, size_t I = 0>
  Result<void> chosen(const std::string& kind, const std::vector<Recorded>& members, Variant& out) {
    if constexpr (I == std::variant_size_v<Variant>) {
      return fail(EINVAL, fmt::format("unknown kind '{}'", printable(kind)), std::string(kNewer));
    } else {
      using Kind = std::variant_alternative_t<I, Variant>;
      if (kind != Kind::kKind) return chosen<Variant, I + 1>(kind, members, out);
      return from_recorded(members, out.template emplace<I>()).context(kind);
    }
  }

  template <model::HasFields T>
  Result<void> from_recorded(const std::vector<Recorded>& members, T& out) {
    u64 seen = 0;
    for (const Recorded& each : members) {
      if (!knows<T>(each.name)) {
        TRY(may_skip(each.name));
        continue;
      }
      CborReader reader([&each]() -> Result<ByteView> { return ByteView(each.item); },
                        each.item.size(), reader_.budget());
      TRY(Decoder(reader).member(each.name, out, seen));
    }
    return complete<T>(seen);
  }

  // The value of the field `name` of `out`, which has one.
  template <model::HasFields T>
  Result<void> member(std::string_view name, T& out, u64& seen) {
    static_assert(std::tuple_size_v<decltype(T::fields())> <= 64, "`seen` has 64 bits");
    Result<void> result;
    u64 bit = 1;
    model::for_each_field(out, [&](const auto& field, auto& value) {
      if (field.name == name) {
        result = (seen & bit) != 0 ? twice(name) : item(value).context(std::string(name));
        seen |= bit;
      }
      bit <<= 1;
    });
    return result;
  }

  template <model::HasFields T>
  static Result<void> complete(u64 seen) {
    std::string_view missing;
    std::apply(
        [&](const auto&... field) {
          ((missing = missing.empty() && field.required && (seen & 1) == 0 ? field.name : missing,
            seen >>= 1),
           ...);
        },
        T::fields());
    if (missing.empty()) return {};
    return fail(EINVAL, fmt::format("'{}' is missing", missing));
  }

  CborReader& reader_;
};

}  // namespace

Result<model::Image> read_image(CborReader& reader) {
  model::Image image;
  TRY(Decoder(reader).item(image));
  TRY(reader.finish());
  return image;
}

}  // namespace stasis::format
