// Files that the image carries whole, made again: in the directory they were in where that is
// possible; without a name at the end, as they were, or under the name that leads to nothing now.
#pragma once

#include <string>

#include "resource/handler.h"
#include "resource/work_folder.h"

namespace stasis::resource {

// What a carried file must be made with.
struct CarriedFile {
  std::string path;              // where it was, relocated
  model::FileIdentity identity;  // owner, permissions and time at the end
  bool anonymous = false;        // was made with O_TMPFILE
  bool named = false;            // keeps its name, and gets its directories back
  int flags = 0;  // O_NOFOLLOW, for the one open file that keeps the flags of its making
  model::SpaceIndex content = 0;
  Making making = {};  // by root: only in directories of root's, or in memory
};

// An O_RDWR descriptor of a new file that holds the content; names are noted in the context.
// Permissions are 0600 until finish_carried_file(), so that it can be opened again through
// /proc/self/fd.
Result<UniqueFd> make_carried_file(const CarriedFile& file, RestoreContext& context);
Result<void> finish_carried_file(int fd, const CarriedFile& file, RestoreContext& context);

// Where make_carried_file would put it; ENOENT text when nowhere. Creates nothing.
Result<std::string> carried_file_directory(const std::string& path);
// It, opened. With `by_root` only a directory where nobody else can replace anything will do.
Result<WorkFolder> carried_file_folder(const std::string& path, bool by_root);

// Writes the data runs of a space into an empty file and gives it its size.
Result<void> write_content(int fd, model::SpaceIndex space, RestoreContext& context);

// A descriptor of ours for reading a file from outside, at its own offset and without O_DIRECT.
Result<UniqueFd> open_for_capture(const FdFacts& facts);

}  // namespace stasis::resource
