// Finding the paths that inotify watches: the kernel tells only inode and device of each.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "proc/fdinfo.h"

namespace stasis::resource {

// Paths of the watched inodes, as far as they could be found, by watch descriptor. Looks where the
// process is likely to have looked: what it has open and mapped, its working directory, its
// arguments, the directories around them, and below what was found.
std::map<i32, std::string> find_watched_paths(Pid pid,
                                              const std::vector<proc::InotifyEntry>& watches);

}  // namespace stasis::resource
