// Which shape a member of the model has, for the visitors that walk field lists (JSON, comparing,
// random generation). Compile-time only.
#pragma once

#include <concepts>
#include <optional>
#include <string>
#include <type_traits>
#include <variant>
#include <vector>

#include "base/types.h"
#include "model/field.h"

namespace stasis::model {

template <class T>
inline constexpr bool kIsOptional = false;
template <class T>
inline constexpr bool kIsOptional<std::optional<T>> = true;

template <class T>
inline constexpr bool kIsVector = false;
template <class T>
inline constexpr bool kIsVector<std::vector<T>> = !std::same_as<T, std::byte>;

template <class T>
inline constexpr bool kIsVariant = false;
template <class... T>
inline constexpr bool kIsVariant<std::variant<T...>> = true;

template <class T>
concept Boolean = std::same_as<T, bool>;
template <class T>
concept Integer = std::integral<T> && !Boolean<T>;
template <class T>
concept Enumeration = std::is_enum_v<T> && !std::same_as<T, std::byte>;
template <class T>
concept Text = std::same_as<T, std::string>;
template <class T>
concept Blob = std::same_as<T, Bytes>;
template <class T>
concept Address = std::same_as<T, RemoteAddr>;
template <class T>
concept Optional = kIsOptional<T>;
template <class T>
concept Sequence = kIsVector<T>;
template <class T>
concept Choice = kIsVariant<T>;

}  // namespace stasis::model
