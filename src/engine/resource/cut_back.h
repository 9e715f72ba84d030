// Files that have grown since they were saved.
//
// BLCR cuts a file that was open for writing back to the size it had: the program writes the rest
// once more. That is right for a job's own output and wrong for a file to which others write as
// well, whose lines would be gone. So a file is left as it is (unless --truncate is given) when
// another process has it open for writing, or maps it shared and writable. What happens is always
// told: a cut, a file that was left, a file that has become smaller. That another process wrote
// after the checkpoint and has ended cannot be told from what the job itself wrote.
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
