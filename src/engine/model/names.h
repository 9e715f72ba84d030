// The names of the model's enums, as images and people see them. A name never changes once an image
// may hold it.
#pragma once

#include <array>
#include <string_view>

#include "model/memory.h"

namespace stasis::model {

// Switches without default, so that the compiler tells of a value without a name.
constexpr std::string_view name_of(RunKind kind) {
  switch (kind) {
    case RunKind::kData:
      return "data";
    case RunKind::kZero:
      return "zero";
    case RunKind::kGuard:
      return "guard";
  }
  return "?";
}

constexpr std::string_view name_of(VmaKind kind) {
  switch (kind) {
    case VmaKind::kAnonymous:
      return "anonymous";
    case VmaKind::kFile:
      return "file";
    case VmaKind::kStack:
      return "stack";
    case VmaKind::kVdso:
      return "vdso";
    case VmaKind::kVvar:
      return "vvar";
    case VmaKind::kVsyscall:
      return "vsyscall";
  }
  return "?";
}

template <class Enum>
struct EnumValues;  // kAll: an array of every value

template <>
struct EnumValues<RunKind> {
  static constexpr std::array kAll{RunKind::kData, RunKind::kZero, RunKind::kGuard};
};

template <>
struct EnumValues<VmaKind> {
  static constexpr std::array kAll{VmaKind::kAnonymous, VmaKind::kFile, VmaKind::kStack,
                                   VmaKind::kVdso,      VmaKind::kVvar, VmaKind::kVsyscall};
};

}  // namespace stasis::model
