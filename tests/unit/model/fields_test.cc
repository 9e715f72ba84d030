// Every struct of the model names all its members in fields(), none twice.
#include <doctest/doctest.h>

#include <set>
#include <string>

#include "model/image.h"
#include "model/shapes.h"

namespace stasis::model {
namespace {

// An aggregate takes as many {} as it has members, and not one more.
#define S1 \
  {}
#define S2 \
  S1, {}
#define S3 \
  S2, {}
#define S4 \
  S3, {}
#define S5 \
  S4, {}
#define S6 \
  S5, {}
#define S7 \
  S6, {}
#define S8 \
  S7, {}
#define S9 \
  S8, {}
#define S10 \
  S9, {}
#define S11 \
  S10, {}
#define S12 \
  S11, {}
#define S13 \
  S12, {}
#define S14 \
  S13, {}
#define S15 \
  S14, {}
#define S16 \
  S15, {}
#define S17 \
  S16, {}
#define S18 \
  S17, {}
#define S19 \
  S18, {}
#define S20 \
  S19, {}
#define S21 \
  S20, {}
#define S22 \
  S21, {}
#define S23 \
  S22, {}
#define S24 \
  S23, {}
#define S25 \
  S24, {}
#define S26 \
  S25, {}
#define S27 \
  S26, {}
#define S28 \
  S27, {}
#define S29 \
  S28, {}
#define S30 \
  S29, {}
#define S31 \
  S30, {}
#define S32 \
  S31, {}
#define S33 \
  S32, {}
#define S34 \
  S33, {}
#define S35 \
  S34, {}
#define TAKES(n)                       \
  if constexpr (requires { T{S##n}; }) \
    return n;                          \
  else

// clang-format off
template <class T>
consteval size_t arity() {
  TAKES(35) TAKES(34) TAKES(33) TAKES(32) TAKES(31) TAKES(30) TAKES(29) TAKES(28) TAKES(27)
  TAKES(26) TAKES(25) TAKES(24) TAKES(23) TAKES(22) TAKES(21) TAKES(20) TAKES(19) TAKES(18)
  TAKES(17) TAKES(16) TAKES(15) TAKES(14) TAKES(13) TAKES(12) TAKES(11) TAKES(10) TAKES(9)
  TAKES(8) TAKES(7) TAKES(6) TAKES(5) TAKES(4) TAKES(3) TAKES(2) TAKES(1)
  return 0;
}
// clang-format on

struct Three {
  std::vector<int> a;
  std::optional<int> b;
  int c;
};
static_assert(arity<Three>() == 3);

template <class T>
constexpr size_t kNamed = std::tuple_size_v<decltype(T::fields())>;

template <class T>
void check_shape();

// "kind" is what tells the alternatives apart in JSON, so none may have a member of that name.
template <class T>
void check_alternative() {
  std::apply([](const auto&... field) { CHECK(((field.name != "kind") && ...)); }, T::fields());
  check_shape<T>();
}

template <class... T>
void check_each(const std::variant<T...>*) {
  (check_alternative<T>(), ...);
}

template <class T>
void check_shape() {
  if constexpr (kIsOptional<T> || kIsVector<T>) {
    check_shape<typename T::value_type>();
  } else if constexpr (kIsVariant<T>) {
    check_each(static_cast<const T*>(nullptr));
  } else if constexpr (HasFields<T>) {
    static_assert(arity<T>() == kNamed<T>, "a member is missing in fields()");
    std::set<std::string> names;
    const T value{};
    for_each_field(value, [&](const auto& field, const auto& member) {
      CAPTURE(std::string(field.name));
      CHECK(names.insert(std::string(field.name)).second);
      check_shape<std::decay_t<decltype(member)>>();
    });
  }
}

}  // namespace

TEST_CASE("fields() names every member") {
  check_shape<Image>();
}

}  // namespace stasis::model
