// BufferedPages: page contents copied aside, so that a small program runs on while its image is
// still being compressed and written. Copying is many times faster than either.
#pragma once

#include <memory>

#include "model/image.h"
#include "model/page_source.h"

namespace stasis::capture {

// Bytes of contents that the image's runs name.
u64 content_bytes(const model::Image& image);

// Whether so many bytes may be copied aside: a small part of the memory that is free. A memory
// limit that we share with the target must not be reached because of us.
bool may_buffer(u64 bytes);

// Copies the contents of all runs of `image` out of `source`.
Result<std::unique_ptr<model::PageSource>> buffer_pages(const model::Image& image,
                                                        model::PageSource& source);

}  // namespace stasis::capture
