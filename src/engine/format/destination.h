// Where a context file goes, and that it appears under its name only when complete and synced.
// BLCR's creation policies and names (blcr-reference 1.1). Symbolic links are never followed for
// writing; the file is 0400.
#pragma once

#include <optional>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"

namespace stasis::format {

enum class CreationPolicy { kAtomic, kBackup, kClobber, kNoClobber };

struct DestinationOptions {
  CreationPolicy policy = CreationPolicy::kAtomic;
  std::string backup_name;  // of kBackup; empty: FILE.~1~, .~2~, ... the first free one
  bool sync = true;         // fsync the file, then its directory
};

class Destination {
 public:
  // Opens DIR/.BASENAME.tmp (atomic, backup) or the file itself. Devices are EINVAL, a directory
  // EISDIR; fifos and sockets are written to as they are.
  static Result<Destination> create(const std::string& path, const DestinationOptions& options);
  // Writes to a descriptor that the caller was given (-F): no names, no policies.
  static Destination adopt(UniqueFd fd);
  Destination(Destination&&) noexcept;
  ~Destination();  // removes what was not committed

  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] const std::string& path() const { return path_; }             // the final name
  [[nodiscard]] const std::string& written_path() const { return working_; }  // while writing
  // Sync, close, rename, sync the directory. fd() is gone afterwards.
  Result<void> commit();
  // Another process, forked from this one, has committed it: nothing is left to remove.
  void disown();
  // Removes what was not committed.
  void discard();

 private:
  Destination() = default;
  Result<void> open_temporary();
  Result<void> open_in_place();
  Result<void> make_backup();
  [[nodiscard]] bool is_still_ours() const;

  UniqueFd fd_;
  std::string path_, working_;
  DestinationOptions options_;
  bool committed_ = true;  // nothing to remove
};

}  // namespace stasis::format
