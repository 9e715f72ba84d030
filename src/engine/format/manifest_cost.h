// What an element of a list may cost in memory, for the bound that manifest.cc sets: compile-time
// only.
#pragma once

#include <algorithm>
#include <tuple>
#include <variant>

#include "base/types.h"
#include "model/field.h"
#include "model/shapes.h"

namespace stasis::format {

// The fewest items that encode a T. Older readers bounded a manifest by 128 bytes an item;
// as no T is larger than that, the bound here refuses none that they took.
template <class T>
constexpr u64 fewest_items() {
  if constexpr (model::HasFields<T>) {
    u64 sum = 1;
    std::apply(
        [&sum]<class Owner, class... M>(const model::Field<Owner, M>&... field) {
          ((sum += field.required ? fewest_items<M>() : 0), ...);
        },
        T::fields());
    return sum;
  } else {
    return 1;
  }
}
template <class... T>
constexpr u64 fewest_items_of(const std::variant<T...>*) {
  return std::min({fewest_items<T>()...}) + 1;
}
template <class T>
constexpr bool is_cheap() {
  constexpr u64 kCost = 128;
  if constexpr (model::Choice<T>) {
    return sizeof(T) <= kCost * fewest_items_of(static_cast<T*>(nullptr));
  } else {
    return sizeof(T) <= kCost * fewest_items<T>();
  }
}

}  // namespace stasis::format
