// Who uses a resource of an image: by which descriptors, open for what, mapped how. Handlers decide
// by it and name things by it. Pure look-ups; nothing is cached, images are small.
#pragma once

#include <optional>
#include <set>
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
  bool mapped_writable = false;  // some shared mapping that is writable or may become so
  std::set<u32> flags;           // of the descriptors, each once
  std::string subject;  // "descriptor 5 of process 4711 (/tmp/x)", "/lib/x, mapped by process 4711"
};
FileUse use_of(const model::Image& image, model::ResourceIndex resource);

// Of the open files of a resource, each once.
std::set<u32> flags_of(const model::Image& image, const model::Resource& resource);

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
// Whether the area shares its file and is writable or may become so: the file is then opened for
// writing to map it.
bool maps_writable_shared(const model::Vma& vma);

}  // namespace stasis::resource
