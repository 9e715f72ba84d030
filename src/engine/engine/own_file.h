// The context file itself, when a process that is being saved has it open: a program that asks for
// its own checkpoint does. Opened again at restart it would be cut back to the size that it had in
// the middle of being written, and it may have been renamed since.
#pragma once

#include <sys/stat.h>

#include <span>

#include "model/image.h"

namespace stasis::engine {

// Makes open files of the file `destination` open files of /dev/null in the image (docs/limits.md).
void set_aside(model::Image& image, const struct stat& destination);
// Makes the read ends of these pipes, by inode, eventfds that are readable (stasis/handshake.h).
void replace_handles(model::Image& image, std::span<const u64> pipes);

}  // namespace stasis::engine
