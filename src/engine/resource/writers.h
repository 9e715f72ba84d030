// Which processes have files open for writing: as far as /proc shows them to us.
#pragma once

#include <sys/types.h>

#include <map>
#include <set>
#include <string>
#include <utility>

#include "base/types.h"

namespace stasis::resource {

using FileKey = std::pair<u64, u64>;  // st_dev, st_ino

using Writers = std::map<FileKey, Pid>;

// For each of `files` the first process that holds a descriptor for writing of it, or maps it
// shared and writable; we and `except` are left out. Those of other users are seen by root only.
Writers find_writers(const std::set<FileKey>& files, const std::set<Pid>& except = {});

// Whether a process, seen or not, has the file at `path` open for writing: false if not, or if the
// kernel does not tell us: another user's file, some filesystems, or we have it open so ourselves.
bool is_open_for_writing(const std::string& path);

// The same for root, of a descriptor of ours that only reads: also where only /proc tells.
bool may_be_open_for_writing(int fd);

}  // namespace stasis::resource
