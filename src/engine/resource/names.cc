// A search of folders: no call tells the names of a file (docs/limits.md says where it ends).
#include "resource/names.h"

#include <sys/stat.h>

#include "base/sys.h"
#include "resource/path.h"

namespace stasis::resource {
namespace {

constexpr size_t kMostNames = 4096;

class Search {
 public:
  explicit Search(u64 inode) : inode_(inode) {}

  // Looks at the names in `folder`; the folders among them are noted.
  void look_at(const std::string& folder, std::vector<std::string>* folders) {
    const auto names = sys::list_directory(folder);
    if (!names) return;
    for (const std::string& name : *names) {
      if (left_ == 0) return;
      --left_;
      std::string path = (folder == "/" ? "" : folder) + "/" + name;
      const auto status = sys::lstat(path);
      if (!status) continue;
      if (S_ISDIR(status->st_mode) && folders != nullptr) folders->push_back(path);
      if (!S_ISDIR(status->st_mode) && status->st_ino == inode_) found.push_back(std::move(path));
    }
  }

  std::vector<std::string> found;

 private:
  u64 inode_;
  size_t left_ = kMostNames;
};

}  // namespace

std::vector<std::string> names_of_inode(const std::string& path, u64 inode) {
  const std::string folder = directory_of(path);
  if (folder.empty()) return {};
  Search search(inode);
  std::vector<std::string> below, beside;
  search.look_at(folder, &below);
  for (const std::string& each : below) search.look_at(each, nullptr);
  if (!search.found.empty() || folder == "/") return search.found;
  Search neighbours(inode);
  neighbours.look_at(directory_of(folder), &beside);
  for (const std::string& each : beside) {
    if (each != folder) neighbours.look_at(each, nullptr);
  }
  return neighbours.found;
}

}  // namespace stasis::resource
