// Who uses a resource of an image: by which descriptors, open for what, mapped how. Handlers decide
// by it and name things by it. Pure look-ups; nothing is cached, images are small.
#pragma once

#include <optional>
#include <string>

#include "model/image.h"

namespace stasis::resource {

// A descriptor of a process of the image.
struct Use {
  const model::Process* process = nullptr;
  const model::Descriptor* descriptor = nullptr;
};

// The first descriptor, in the order of the image, that is this open file.
std::optional<Use> first_use(const model::Image& image, model::OpenFileIndex open_file);
// The first descriptor of one process that is this open file; nullptr: it has none.
const model::Descriptor* first_descriptor(const model::Process& process,
                                          model::OpenFileIndex open_file);

// What the image does with a file.
struct FileUse {
  bool open = false;            // some descriptor
  bool written = false;         // some descriptor that may write
  bool read_only = false;       // some descriptor that may only read
  bool mapped_private = false;  // unchanged pages come from the file: it must be the same
  bool mapped_shared = false;
  std::string subject;  // "descriptor 5 of process 4711 (/tmp/x)", "/lib/x, mapped by process 4711"
};
FileUse use_of(const model::Image& image, model::ResourceIndex resource);

// The index of a resource that lies in the image.
model::ResourceIndex index_of(const model::Image& image, const model::Resource& resource);
// "descriptor 5 of process 4711 (NAME)", for an open file and for a resource.
std::string subject_of(const model::Image& image, model::OpenFileIndex open_file,
                       const std::string& name);
std::string subject_of(const model::Image& image, const model::Resource& resource,
                       const std::string& name);

// O_RDONLY, O_WRONLY or O_RDWR of saved flags; whether they let the holder write.
int access_mode(u32 flags);
bool may_write(u32 flags);
bool may_read(u32 flags);

}  // namespace stasis::resource
