// Files that have grown since they were saved.
//
// BLCR cuts a file that was open for writing back to the size it had: the program writes the rest
// once more. That is right for a job's own output and wrong for a file to which others write as
// well, whose lines would be gone. So a file is left as it is (unless --truncate is given) when
// another process has it open for writing, or maps it shared and writable. So is a file to which
// the image only appends (O_APPEND) when another process had it open for writing at the checkpoint,
// or when the checkpoint ended the processes by a signal: they cannot have written it since. A
// second restart of such an image finds the lines of the first one, which cannot be told from
// others'; they are left, too, as lines that are there twice do less harm than lines that are gone.
// What happens is always told: a cut, a file that was left, a file that has become smaller.
#pragma once

#include <map>
#include <string>

#include "resource/handler.h"
#include "resource/restore.h"

namespace stasis::resource {

// Why files that have grown are not to be cut back. To be asked before any of them is open here.
using OtherWriters = std::map<model::ResourceIndex, std::string>;
OtherWriters other_writers(const RestoreContext& context);

// Gives a file that the image may write its saved size, or tells why not.
Result<void> cut_back(model::ResourceIndex index, const OtherWriters& others,
                      const Restored& restored, RestoreContext& context);

}  // namespace stasis::resource
