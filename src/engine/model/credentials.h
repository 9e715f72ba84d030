// With whose rights a process acts: credentials(7).
#pragma once

#include <tuple>
#include <vector>

#include "base/types.h"
#include "model/field.h"

namespace stasis::model {

struct Credentials {
  std::vector<u32> uids;  // real, effective, saved, filesystem
  std::vector<u32> gids;
  std::vector<u32> groups;
  u64 effective = 0, permitted = 0, inheritable = 0, bounding = 0, ambient = 0;  // capability sets
  u32 securebits = 0;

  bool operator==(const Credentials&) const = default;
  static constexpr auto fields() {
    return std::tuple{field("uids", &Credentials::uids),
                      field("gids", &Credentials::gids),
                      field("groups", &Credentials::groups),
                      field("effective", &Credentials::effective),
                      field("permitted", &Credentials::permitted),
                      field("inheritable", &Credentials::inheritable),
                      field("bounding", &Credentials::bounding),
                      field("ambient", &Credentials::ambient),
                      field("securebits", &Credentials::securebits)};
  }
};

}  // namespace stasis::model
