// Paths: relocation by BLCR's rules, and what /proc says of a file that has lost its name.
#pragma once

#include <string>
#include <vector>

namespace stasis::resource {

// "/a/b (deleted)" -> "/a/b" and true.
struct LinkName {
  std::string path;
  bool deleted = false;

  bool operator==(const LinkName&) const = default;
};
LinkName split_link(const std::string& link);
std::string directory_of(const std::string& path);  // "/" for "/x"; "" without a slash
std::string base_name(const std::string& path);
std::string fd_path(int fd);  // /proc/self/fd/N: opens the same file again, by permission

}  // namespace stasis::resource
