// Whether and how far files are cut back.
#include "resource/cut_back.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "base/sys.h"
#include "proc/status.h"
#include "resource/file_check.h"
#include "resource/uses.h"
#include "resource/writers.h"

namespace stasis::resource {
namespace {

// The file, if it has a name and an open file of the image writes it.
const model::RegularFile* written_file(const model::Image& image, model::ResourceIndex index) {
  const auto* file = std::get_if<model::RegularFile>(&image.resources[index]);
  if (file == nullptr || file->content || !S_ISREG(file->identity.mode)) return nullptr;
  for (const model::OpenFile& open_file : image.open_files) {
    if (open_file.resource == index && may_write(open_file.flags)) return file;
  }
  return nullptr;
}

// Whether the image writes the file only at its end, wherever that is.
bool is_only_appended(const model::Image& image, model::ResourceIndex index) {
  return std::ranges::all_of(image.open_files, [&](const model::OpenFile& open_file) {
    return open_file.resource != index || !may_write(open_file.flags) ||
           (open_file.flags & O_APPEND) != 0;
  });
}

// Why what was appended may be others' though none of them has the file open now.
std::optional<std::string> earlier_writer(const model::Image& image, model::ResourceIndex index) {
  if (!is_only_appended(image, index)) return std::nullopt;
  if (std::get<model::RegularFile>(image.resources[index]).other_writers) {
    return "another process had it open for writing, too, when it was saved";
  }
  if (image.origin.ended)
    return "the checkpoint ended the processes, so that others wrote it, or a restart";
  return std::nullopt;
}

int descriptor_for_writing(const model::Image& image, model::ResourceIndex index,
                           const Restored& restored) {
  for (size_t i = 0; i < image.open_files.size(); ++i) {
    const model::OpenFile& open_file = image.open_files[i];
    if (open_file.resource == index && may_write(open_file.flags)) {
      return restored.open_files[i].get();
    }
  }
  return -1;
}

}  // namespace

OtherWriters other_writers(const RestoreContext& context) {
  OtherWriters others;
  if (context.options.file_size != FileSizePolicy::kTruncate) return others;
  std::map<model::ResourceIndex, FileKey> grown;
  std::set<FileKey> keys;
  for (model::ResourceIndex i = 0; i < context.image.resources.size(); ++i) {
    const model::RegularFile* file = written_file(context.image, i);
    if (file == nullptr) continue;
    const auto now = sys::stat(context.relocate(file->path));
    if (!now || static_cast<u64>(now->st_size) <= file->identity.size) continue;
    grown[i] = {now->st_dev, now->st_ino};
    keys.insert(grown[i]);
  }
  const auto writers = find_writers(keys);
  for (const auto& [index, key] : grown) {
    const auto& file = std::get<model::RegularFile>(context.image.resources[index]);
    const auto writer = writers.find(key);
    if (writer != writers.end()) {
      others[index] =
          fmt::format("process {} has it open for writing, too", proc::describe(writer->second));
    } else if (is_open_for_writing(context.relocate(file.path))) {
      others[index] = "a process that cannot be seen from here has it open for writing, too";
    } else if (auto earlier = earlier_writer(context.image, index)) {
      others[index] = std::move(*earlier);
    }
  }
  return others;
}

Result<void> cut_back(model::ResourceIndex index, const OtherWriters& others,
                      const Restored& restored, RestoreContext& context) {
  const model::RegularFile* file = written_file(context.image, index);
  if (file == nullptr) return {};
  const int fd = descriptor_for_writing(context.image, index, restored);
  const struct stat status = TRY(sys::fstat(fd));
  const std::string path = context.relocate(file->path);
  const u64 saved = file->identity.size;
  const auto now = static_cast<u64>(status.st_size);
  if (now == saved || !S_ISREG(status.st_mode) || is_pseudo_filesystem(fd)) return {};
  const auto note = [&context](std::string text) { context.notes.push_back(std::move(text)); };
  if (now < saved) {
    note(fmt::format("{} has {} bytes and had {} when it was saved", path, now, saved));
  } else if (context.options.file_size == FileSizePolicy::kKeep) {
    note(fmt::format("{} has grown from {} to {} bytes since it was saved and is left so", path,
                     saved, now));
  } else if (const auto other = others.find(index); other != others.end()) {
    note(fmt::format("{} was not cut back from {} to {} bytes: {} (--truncate cuts it)", path, now,
                     saved, other->second));
  } else {
    TRY(sys::check(::ftruncate(fd, static_cast<off_t>(saved)), "cut back", path));
    note(fmt::format("cut back {} from {} to {} bytes", path, now, saved));
  }
  return {};
}

}  // namespace stasis::resource
