// --save-exe, --save-private, --save-shared: files that have a name and travel with the image all
// the same, for a restart that does not find them, or finds them changed. Small files in places
// that are cleaned away travel without being asked for, for a restart that does not find them.
#pragma once

#include "base/result.h"
#include "capture/builder.h"
#include "capture/capture.h"

namespace stasis::capture {

// Gives the content of the mapped files that `options` asks for to the image, and that of the small
// files below /tmp, /dev/shm and /run (RegularFile::fallback; not with --no-carry). To be called
// when all processes are in it.
Result<void> carry_files(Builder& builder, const CaptureOptions& options);

}  // namespace stasis::capture
