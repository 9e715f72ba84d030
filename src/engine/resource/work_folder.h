// A directory in which something is made under a name and loses the name again (files, fifos and
// directories that had been removed). The directory is opened once and names are used relative to
// it, so that a directory or link put in its place meanwhile changes nothing; what is opened is
// checked to be what was made.
#pragma once

#include <string>

#include "base/result.h"
#include "base/types.h"
#include "base/unique_fd.h"
#include "resource/handler.h"

namespace stasis::resource {

class WorkFolder {
 public:
  // Symbolic links on the way are followed with the rights of whoever acts (resource/rights.h).
  static Result<WorkFolder> open(const std::string& path);
  // Only one in which nobody but root can replace anything (open_roots_folder).
  static Result<WorkFolder> open_roots(const std::string& path);

  // Each: a new thing of mode 0600 (0700), opened with `flags`, whose name is gone again. The name
  // is `name` where that is free, else one that cannot be guessed.
  [[nodiscard]] Result<UniqueFd> removed_file(const std::string& name, int flags) const;
  [[nodiscard]] Result<UniqueFd> removed_directory(const std::string& name, int flags) const;

  // What keeps its name for now. EEXIST: the name is in use, unless `any` allows another one.
  struct Named {
    UniqueFd fd;
    std::string name;
  };
  // A new fifo (mode 0600), opened O_RDWR | O_NONBLOCK.
  [[nodiscard]] Result<Named> new_fifo(const std::string& name, bool any) const;
  // One more name for the thing behind `fd`, opened by it with O_PATH.
  [[nodiscard]] Result<Named> second_name(int fd, const std::string& name, bool any) const;
  // Takes the name away again from the thing behind `fd`; it must be that, and in a folder of
  // root's have no other name, but if others are known (`is_last` false).
  [[nodiscard]] Result<void> remove(const std::string& name, int fd, int flags = 0,
                                    bool is_last = true) const;
  // A new file (mode 0600) that keeps its name. EEXIST: name in use.
  [[nodiscard]] Result<UniqueFd> new_file(const std::string& name, int flags) const;

 private:
  WorkFolder(UniqueFd fd, std::string path, bool roots)
      : fd_(std::move(fd)), path_(std::move(path)), roots_(roots) {}
  [[nodiscard]] Result<UniqueFd> file(const std::string& name, int flags) const;
  [[nodiscard]] Result<UniqueFd> fifo(const std::string& name) const;
  [[nodiscard]] Result<UniqueFd> link(int fd, const std::string& name) const;
  [[nodiscard]] Result<UniqueFd> directory(const std::string& name, int flags) const;
  [[nodiscard]] std::string full(const std::string& name) const { return path_ + "/" + name; }

  UniqueFd fd_;
  std::string path_;  // for messages
  bool roots_ = false;
};

// Owner, group and permissions of something that was made again, by its descriptor. Set-id bits
// come back only where the file belongs again to whom it belonged and that is who acts; what could
// not be given back becomes a note. EPERM: the owner cannot be given, and several users hold what
// we made for them.
Result<void> give_permissions(int fd, const model::FileIdentity& saved, const std::string& name,
                              Making making, RestoreContext& context);

}  // namespace stasis::resource
