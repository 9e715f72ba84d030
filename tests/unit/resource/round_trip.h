// A capture and a restart of descriptors of our own process, without any other process: facts read
// from /proc/self, a fake CaptureContext, contents kept in memory, and scripts run by ourselves.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/sys.h"
#include "model/image.h"
#include "resource/handler.h"
#include "resource/restore.h"

namespace stasis::resource {

// Contents that capture registered, read again at restore.
class MemoryPages : public model::PageSource {
 public:
  Result<void> read(model::SpaceIndex space, std::span<const model::Run> runs,
                    ByteSpan out) override;
  std::vector<Bytes> contents;
};

class FakeCapture : public CaptureContext {
 public:
  explicit FakeCapture(model::Image& image, MemoryPages& pages) : image_(image), pages_(pages) {}
  Result<model::SpaceIndex> add_content(UniqueFd file, u64 size, std::string label) override;
  std::optional<model::OpenFileIndex> open_file(Pid pid, int number) override;
  bool in_image(Pid pid) override { return pid == ::getpid(); }
  bool has_peer(u64 inode, bool want_reader) override;
  std::vector<std::string> links_of(const struct stat& object) override;
  u64 controlling_terminal(Pid) override { return 0; }

 private:
  model::Image& image_;
  MemoryPages& pages_;
};

// An image of chosen descriptors of ours, each a descriptor of its one process.
struct Saved {
  model::Image image;
  MemoryPages pages;
};
Result<Saved> save(const std::vector<int>& numbers);
FdFacts facts_of(int number);
std::string refusal_of(int number);  // "" when nothing stands in the way

// create_open_files, then settle's script run by us on the saved numbers, which must be free.
struct Back {
  std::map<int, UniqueFd> fds;  // by saved number, moved there
  std::vector<std::string> notes;
};
Result<Back> bring_back(Saved& saved, RestoreOptions options = {});
// Saves, closes, brings back under the same numbers and saves again: both images.
struct Twice {
  Saved first, second;
  Back back;
};
Result<Twice> round_trip(std::vector<UniqueFd> fds);
// The same for one descriptor; its only resource, before and after.
template <class T>
std::pair<T, T> both(const Twice& twice, size_t index = 0) {
  return {std::get<T>(twice.first.image.resources[index]),
          std::get<T>(twice.second.image.resources[index])};
}

// A directory that is removed with all that is in it.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  ~TemporaryDirectory();
  [[nodiscard]] std::string path(const std::string& name) const { return path_ + "/" + name; }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

void write_file(const std::string& path, const std::string& text);
std::string read_all(int fd);
UniqueFd must_open(const std::string& path, int flags, mode_t mode = 0600);

}  // namespace stasis::resource
