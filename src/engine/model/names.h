// The names of the model's enums, as images and people see them. A name never changes once an image
// may hold it.
#pragma once

#include <array>
#include <string_view>
#include <utility>

#include "model/memory.h"

namespace stasis::model {

template <class Enum>
struct EnumNames;  // kTable: an array of (value, name) for every value

template <>
struct EnumNames<RunKind> {
  static constexpr std::array<std::pair<RunKind, std::string_view>, 3> kTable{
      {{RunKind::kData, "data"}, {RunKind::kZero, "zero"}, {RunKind::kGuard, "guard"}}};
};

template <>
struct EnumNames<VmaKind> {
  static constexpr std::array<std::pair<VmaKind, std::string_view>, 6> kTable{
      {{VmaKind::kAnonymous, "anonymous"},
       {VmaKind::kFile, "file"},
       {VmaKind::kStack, "stack"},
       {VmaKind::kVdso, "vdso"},
       {VmaKind::kVvar, "vvar"},
       {VmaKind::kVsyscall, "vsyscall"}}};
};

template <class Enum>
constexpr std::string_view name_of(Enum value) {
  for (const auto& [known, name] : EnumNames<Enum>::kTable) {
    if (known == value) return name;
  }
  return "?";
}

}  // namespace stasis::model
