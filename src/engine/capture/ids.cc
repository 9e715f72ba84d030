// Translation of all ids of an image, once everything has been captured.
#include "capture/ids.h"

#include <algorithm>
#include <set>

#include "proc/status.h"

namespace stasis::capture {
namespace {

class Translator {
 public:
  explicit Translator(const std::map<Pid, Pid>& inside) : inside_(inside) {
    for (const auto& [ours, theirs] : inside) {
      seen_inside_.insert(theirs);
      if (ours != theirs) depth_ = std::max(depth_, depth_of(ours));
    }
  }

  void operator()(Pid& id) const {
    if (const auto known = inside_.find(id); known != inside_.end()) {
      id = known->second;
    } else if (depth_ > 1 && id > 0) {
      id = outsider(id);
    }
  }

  void parent(Pid& id) const {
    const bool outside = !inside_.contains(id);
    (*this)(id);
    // It happens to have, out there, the number of one of ours in here.
    if (outside && seen_inside_.contains(id)) id = 0;
  }

 private:
  static size_t depth_of(Pid pid) {
    const auto status = proc::read_status(pid);
    return status.ok() ? status->namespace_pids.size() : 0;
  }

  // Somebody who lives in the same pid namespace, or whom the processes cannot see.
  [[nodiscard]] Pid outsider(Pid id) const {
    const auto status = proc::read_status(id);
    if (!status || status->namespace_pids.size() != depth_) return id;
    return status->namespace_pids.back();
  }

  const std::map<Pid, Pid>& inside_;
  std::set<Pid> seen_inside_;
  size_t depth_ = 0;  // of the pid namespace of the processes below ours; 0: the same as ours
};

}  // namespace

void translate_ids(model::Image& image, const std::map<Pid, Pid>& inside) {
  const Translator translate(inside);
  for (model::Process& process : image.processes) {
    translate.parent(process.parent);
    translate(process.group);
    translate(process.session);
    for (model::PosixTimer& timer : process.posix_timers) translate(timer.tid);
  }
  for (model::Zombie& zombie : image.zombies) {
    for (Pid* id : {&zombie.pid, &zombie.parent, &zombie.group, &zombie.session}) translate(*id);
  }
  for (model::OpenFile& file : image.open_files) {
    translate(file.owner);
    for (model::FileLock& lock : file.locks) {
      translate(lock.owner);
      const bool saved = std::ranges::find(image.processes, lock.owner, &model::Process::pid) !=
                         image.processes.end();
      if (lock.type == "FLOCK" && !saved) lock.owner = 0;
    }
  }
  for (model::Resource& resource : image.resources) {
    if (auto* pidfd = std::get_if<model::PidFd>(&resource)) translate(pidfd->pid);
  }
}

}  // namespace stasis::capture
