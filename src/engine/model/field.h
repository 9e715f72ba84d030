// How the nouns of the model list their fields: once, in `static constexpr auto fields()`, as a
// tuple of named member pointers. Encoding, decoding, printing, comparing and random generation all
// walk that list, so nothing is described twice.
#pragma once

#include <concepts>
#include <string_view>
#include <tuple>

namespace stasis::model {

template <class Owner, class Member>
struct Field {
  std::string_view name;
  Member Owner::*member;
  bool required;
};

// A field that every image has; a reader refuses an image without it.
template <class Owner, class Member>
constexpr Field<Owner, Member> field(std::string_view name, Member Owner::*member) {
  return {name, member, true};
}

// A field added later: absent means the member's default.
template <class Owner, class Member>
constexpr Field<Owner, Member> optional_field(std::string_view name, Member Owner::*member) {
  return {name, member, false};
}

template <class T>
concept HasFields = requires {
  T::fields();
};

// Calls visit(field, value.member) for every field of `value`.
template <class T, class Visit>
requires HasFields<std::remove_const_t<T>>
constexpr void for_each_field(T& value, Visit visit) {
  std::apply([&](const auto&... each) { (visit(each, value.*(each.member)), ...); },
             std::remove_const_t<T>::fields());
}

}  // namespace stasis::model
