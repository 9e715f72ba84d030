// The kernel's "(deleted)" means one name, not the thing, and may be part of a name: names are
// looked up and compared by device and inode.
#include "resource/locate.h"

#include <fmt/format.h>

#include "base/sys.h"
#include "resource/names.h"

namespace stasis::resource {
namespace {

// A file unlinked under the name it was opened by may have another (link, then unlink; rename over
// it on some filesystems).
std::string other_name(const std::string& path, const struct stat& wanted) {
  for (const std::string& candidate : names_of_inode(path, wanted.st_ino)) {
    if (is_same_file(candidate, wanted)) return candidate;
  }
  return {};
}

}  // namespace

bool is_same_file(const std::string& path, const struct stat& wanted) {
  const auto found = sys::lstat(path);
  return found.ok() && found->st_dev == wanted.st_dev && found->st_ino == wanted.st_ino;
}

LinkName name_opened(const FdFacts& facts) {
  LinkName name = split_link(facts.link);
  if (!name.deleted || is_same_file(facts.link, facts.status)) return {facts.link, false};
  return name;
}

std::string give_back_name(const FdFacts& facts) {
  return fmt::format("give it its name back: ln -L /proc/{}/fd/{} {}", facts.pid, facts.number,
                     name_opened(facts).path);
}

Located locate(const FdFacts& facts, const std::vector<std::string>& links) {
  const LinkName name = name_opened(facts);
  if (!name.deleted) return {facts.link};
  if (facts.status.st_nlink == 0) return {name.path, true, false};
  for (const std::string& link : links) {
    if (is_same_file(link, facts.status)) return {link};
  }
  const std::string other = other_name(name.path, facts.status);
  if (!other.empty()) return {other};
  return {name.path, true, true};
}

}  // namespace stasis::resource
