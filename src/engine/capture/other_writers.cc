// Looking for descriptors opened with O_APPEND, and for others on the same files.
#include "capture/other_writers.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>

#include "base/sys.h"
#include "proc/fdinfo.h"
#include "proc/status.h"

namespace stasis::capture {
namespace {

bool appends(const proc::FdInfo& info) {
  return (info.flags & O_APPEND) != 0 && (info.flags & O_PATH) == 0 &&
         (info.flags & O_ACCMODE) != O_RDONLY;
}

// A regular file that has a name: one without is carried.
void add_appended(Pid pid, std::set<resource::FileKey>& files) {
  const Pid live = proc::live_thread(pid);
  const auto numbers = proc::read_descriptors(live);
  if (!numbers) return;  // it has ended
  for (const int number : *numbers) {
    const auto status = sys::stat(fmt::format("/proc/{}/fd/{}", live, number));
    if (!status || !S_ISREG(status->st_mode) || status->st_nlink == 0) continue;
    const auto info = proc::read_fdinfo(live, number);
    if (info && appends(*info)) files.insert({status->st_dev, status->st_ino});
  }
}

// The processes of this very program: the command that asked, what it started, and its like.
std::set<Pid> our_kind() {
  std::set<Pid> pids;
  const auto own = sys::stat("/proc/self/exe");
  const auto all = sys::list_numbers("/proc");
  if (!own || !all) return pids;
  for (const Pid pid : *all) {
    const auto program = sys::stat(fmt::format("/proc/{}/exe", pid));
    if (program && program->st_dev == own->st_dev && program->st_ino == own->st_ino) {
      pids.insert(pid);
    }
  }
  return pids;
}

}  // namespace

resource::Writers find_other_writers(std::span<const Pid> pids) {
  std::set<resource::FileKey> files;
  for (const Pid pid : pids) add_appended(pid, files);
  if (files.empty()) return {};
  std::set<Pid> except = our_kind();
  except.insert(pids.begin(), pids.end());
  return resource::find_writers(files, except);
}

void note_other_writers(model::Image& image, const resource::Writers& writers,
                        std::span<const Pid> saved) {
  for (model::Resource& each : image.resources) {
    auto* file = std::get_if<model::RegularFile>(&each);
    if (file == nullptr) continue;
    const auto writer = writers.find({file->identity.device, file->identity.inode});
    if (writer == writers.end()) continue;
    file->other_writers = std::ranges::find(saved, writer->second) == saved.end();
  }
}

}  // namespace stasis::capture
