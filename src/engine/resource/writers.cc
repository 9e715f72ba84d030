// Searching /proc, and asking for a lease.
#include "resource/writers.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/sys.h"
#include "proc/fdinfo.h"
#include "proc/maps.h"
#include "proc/status.h"
#include "resource/path.h"
#include "resource/uses.h"

namespace stasis::resource {
namespace {

FileKey key_of(const struct stat& status) {
  return {status.st_dev, status.st_ino};
}

void add_descriptors(Pid pid, const std::set<FileKey>& files, std::map<FileKey, Pid>& writers) {
  const auto numbers = proc::read_descriptors(pid);
  if (!numbers) return;  // gone, or another user's
  for (const int number : *numbers) {
    const auto status = sys::stat(fmt::format("/proc/{}/fd/{}", pid, number));
    if (!status || !S_ISREG(status->st_mode) || !files.contains(key_of(*status))) continue;
    const auto info = proc::read_fdinfo(pid, number);
    if (info && may_write(info->flags)) writers.try_emplace(key_of(*status), pid);
  }
}

// The device of maps is not that of stat on some filesystems: the inode is compared, and then the
// file that the path of the mapping leads to.
void add_mappings(Pid pid, const std::set<FileKey>& files, std::map<FileKey, Pid>& writers) {
  const auto areas = proc::read_maps(pid);
  if (!areas) return;
  for (const proc::Area& area : *areas) {
    if (!area.shared || (area.protection & PROT_WRITE) == 0 || area.inode == 0) continue;
    const auto same = [&](const FileKey& key) { return key.second == area.inode; };
    if (std::ranges::none_of(files, same)) continue;
    const auto status = sys::stat(area.path);
    if (status && files.contains(key_of(*status))) writers.try_emplace(key_of(*status), pid);
  }
}

bool writes_itself(const FileKey& file) {
  std::map<FileKey, Pid> ours;
  add_descriptors(::getpid(), {file}, ours);
  return !ours.empty();
}

// Asks for a read lease, which is granted where no process writes (fcntl(2)), and gives it back: 0,
// or the errno. Who opens the file for writing in the moment that we hold it waits for us, and the
// kernel tells us by a signal: one that is ignored.
int lease_refused(int fd, const std::string& name) {
  const auto chosen = sys::check(::fcntl(fd, F_SETSIG, SIGURG), "choose a signal for", name);
  if (!chosen) return chosen.error().code;
  const auto lease = sys::check(::fcntl(fd, F_SETLEASE, F_RDLCK), "take a lease on", name);
  if (!lease) return lease.error().code;
  (void)::fcntl(fd, F_SETLEASE, F_UNLCK);  // else it ends with the descriptor
  return 0;
}

}  // namespace

std::map<FileKey, Pid> find_writers(const std::set<FileKey>& files, const std::set<Pid>& except) {
  std::map<FileKey, Pid> writers;
  if (files.empty()) return writers;
  const auto all = sys::list_numbers("/proc");
  for (const Pid pid : all ? *all : std::vector<Pid>()) {
    if (pid == ::getpid() || except.contains(pid)) continue;
    const Pid live = proc::live_thread(pid);
    add_descriptors(live, files, writers);
    add_mappings(live, files, writers);
  }
  return writers;
}

bool is_open_for_writing(const std::string& path) {
  const auto fd = sys::open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
  if (!fd) return false;
  const auto status = sys::fstat(fd->get());
  if (!status) return false;
  // One of our own descriptors (cr_restart >>all.log) would be taken for another process's.
  if (writes_itself(key_of(*status))) return false;
  return lease_refused(fd->get(), path) == EAGAIN;
}

bool may_be_open_for_writing(int fd) {
  const auto status = sys::fstat(fd);
  if (!status) return true;
  const auto again = sys::open(fd_path(fd), O_RDONLY | O_NONBLOCK | O_NOCTTY);
  const int refused = again ? lease_refused(again->get(), "the image") : again.error().code;
  if (refused == 0) return false;
  if (refused == EAGAIN && !writes_itself(key_of(*status))) return true;
  return !find_writers({key_of(*status)}).empty();
}

}  // namespace stasis::resource
