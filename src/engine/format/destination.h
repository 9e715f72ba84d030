// Where a context file goes, and that it appears under its name only when complete and synced.
// BLCR's creation policies and names. The file is 0400. What somebody else put in the way
// beforehand is never written: symbolic links are not followed, files, fifos and sockets of others
// and files with a second name are not opened for writing, and the file being written has no name
// (O_TMPFILE), or one that cannot be guessed.
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
  // Opens a file without a name in DIR (atomic, backup) or the file itself. Devices are EINVAL, a
  // directory EISDIR, what is another user's EPERM; our own fifos and sockets are written to as
  // they are.
  static Result<Destination> create(const std::string& path, const DestinationOptions& options);
  // Writes to a descriptor that the caller was given (-F): no names, no policies.
  static Destination adopt(UniqueFd fd);
  Destination(Destination&&) noexcept;
  ~Destination();  // removes what was not committed

  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] const std::string& path() const { return path_; }  // the final name
  // Sync, close, rename, sync the directory. fd() is gone afterwards.
  Result<void> commit();
  // Another process, forked from this one, has committed it: nothing is left to remove.
  void disown();
  // Removes what was not committed.
  void discard();

 private:
  Destination() = default;
  Result<void> find_folder();
  Result<bool> open_pipe();
  Result<void> open_temporary();
  Result<void> open_in_place();
  Result<void> give_name();
  Result<void> make_backup();
  [[nodiscard]] Result<UniqueFd> create_new(const std::string& name) const;
  void remove_what_is_ours() const;

  UniqueFd fd_;
  UniqueFd folder_;  // names are relative to it: who replaces the folder meanwhile changes nothing
  std::string path_, folder_name_, name_;
  std::string working_;  // name in the folder while writing; empty: none
  DestinationOptions options_;
  bool committed_ = true;  // nothing to remove
};

}  // namespace stasis::format
