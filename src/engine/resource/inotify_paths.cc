// The search for watched paths. open_by_handle_at would give them to root only. Candidates are
// compared in the kernel's own terms: an inotify instance of ours watches each for a moment and its
// fdinfo tells inode and device, which stat gets wrong on overlay and btrfs. Watching a file does
// nothing to it. A path that leads through /proc/PID (as /dev/fd does: to descriptors of ours) says
// nothing about the file after a restart, and is none.
#include "resource/inotify_paths.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/openat2.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <deque>
#include <set>

#include "base/sys.h"
#include "resource/path.h"
#include "resource/proc_files.h"

namespace stasis::resource {
namespace {

constexpr size_t kMaxCandidates = 20'000;
constexpr size_t kBatch = 512;  // watches of ours at a time; users may have few

using Key = std::pair<u64, u64>;  // device as fdinfo writes it, inode

// Whether a path leads to the same file after a restart, too: through no link that is magic, as
// those of /proc/PID/fd are, nor into /proc/PID.
bool is_lasting(const std::string& path) {
  open_how how = {};
  how.flags = O_PATH | O_CLOEXEC;
  how.resolve = RESOLVE_NO_MAGICLINKS;
  const auto opened =
      sys::raw("look at", path, SYS_openat2, AT_FDCWD, path.c_str(), &how, sizeof how);
  if (!opened) return false;
  const UniqueFd fd(static_cast<int>(*opened));
  const auto link = sys::read_link(fd_path(fd.get()));
  return link.ok() && !is_about_a_process(*link);
}

// Paths still to be looked at, each once, nearest first.
class Candidates {
 public:
  void add(const std::string& path) {
    if (!path.starts_with('/') || is_about_a_process(path)) return;
    if (seen_.size() < kMaxCandidates && seen_.insert(path).second) waiting_.push_back(path);
  }
  void add_entries(const std::string& directory) {
    if (!is_lasting(directory)) return;  // entries of /dev/fd
    const auto names = sys::list_directory(directory);
    if (!names) return;
    for (const std::string& name : *names) add((directory == "/" ? "" : directory) + "/" + name);
  }
  std::vector<std::string> take(size_t count) {
    std::vector<std::string> batch;
    while (!waiting_.empty() && batch.size() < count) {
      batch.push_back(std::move(waiting_.front()));
      waiting_.pop_front();
    }
    return batch;
  }

 private:
  std::set<std::string> seen_;
  std::deque<std::string> waiting_;
};

// What the process itself names: descriptors, program, working directory, arguments.
std::vector<std::string> named_paths(Pid pid) {
  std::vector<std::string> paths;
  const std::string base = fmt::format("/proc/{}/", pid);
  const auto link = [&](const std::string& name) {
    const auto target = sys::read_link(base + name);
    if (target) paths.push_back(split_link(*target).path);
  };
  link("cwd");
  link("exe");
  const std::string directory = paths.empty() ? "/" : paths.front();
  const auto numbers = proc::read_descriptors(pid);
  for (const int number : numbers ? *numbers : std::vector<int>()) {
    link(fmt::format("fd/{}", number));
  }
  for (const char* name : {"cmdline", "environ"}) {
    const std::string text = sys::read_file(base + name).ok() ? *sys::read_file(base + name) : "";
    for (size_t at = 0; at < text.size();) {
      const std::string word = text.substr(at, text.find('\0', at) - at);
      at += word.size() + 1;
      const std::string value = word.substr(word.find('=') + 1);
      paths.push_back(value.starts_with('/') ? value : directory + "/" + value);
    }
  }
  std::erase_if(paths, [](const std::string& path) { return path.size() >= PATH_MAX; });
  return paths;
}

// Which of the paths are among the wanted inodes.
std::map<Key, std::string> identify(const std::vector<std::string>& paths,
                                    const std::set<Key>& wanted) {
  std::map<Key, std::string> found;
  const UniqueFd probe(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (!probe) return found;
  std::map<i32, std::string> watched;
  for (const std::string& path : paths) {
    const int wd = ::inotify_add_watch(probe.get(), path.c_str(), IN_UNMOUNT | IN_DELETE_SELF);
    if (wd >= 0) watched.try_emplace(wd, path);
  }
  const auto info = proc::read_fdinfo(::getpid(), probe.get());
  if (!info) return found;
  for (const proc::InotifyEntry& entry : info->inotify) {
    const Key key{entry.device, entry.inode};
    if (wanted.contains(key) && is_lasting(watched[entry.wd])) {
      found.emplace(key, watched[entry.wd]);
    }
  }
  return found;
}

}  // namespace

std::map<i32, std::string> find_watched_paths(Pid pid,
                                              const std::vector<proc::InotifyEntry>& watches) {
  std::set<Key> wanted;
  for (const proc::InotifyEntry& watch : watches) wanted.insert({watch.device, watch.inode});
  Candidates candidates;
  const std::vector<std::string> named = named_paths(pid);
  for (const std::string& path : named) candidates.add(path);
  for (const std::string& path : named) {
    for (std::string up = directory_of(path); up.size() > 1; up = directory_of(up)) {
      candidates.add(up);
    }
  }
  for (const char* usual : {"/", "/tmp", "/etc", "/dev", "/etc/resolv.conf", "/etc/localtime"}) {
    candidates.add(usual);
  }
  std::map<Key, std::string> found;
  size_t looked_at = 0;
  for (auto batch = candidates.take(kBatch); !batch.empty() && !wanted.empty();
       batch = candidates.take(kBatch)) {
    for (auto& [key, path] : identify(batch, wanted)) {
      wanted.erase(key);
      candidates.add_entries(path);  // recursive watchers watch what is below, too
      found.emplace(key, path);
    }
    for (const std::string& path : batch) candidates.add_entries(path);
    looked_at += batch.size();
    if (looked_at > kMaxCandidates) break;
  }
  std::map<i32, std::string> result;
  for (const proc::InotifyEntry& watch : watches) {
    const auto at = found.find({watch.device, watch.inode});
    if (at != found.end()) result[watch.wd] = at->second;
  }
  return result;
}

}  // namespace stasis::resource
