// Descriptors of all processes -> open files and resources. Two descriptors are one open file when
// kcmp(2) says so; two open files are one resource when their handler gives both the same identity.
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/kcmp.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/sys.h"
#include "capture/builder.h"
#include "proc/fdinfo.h"
#include "proc/status.h"
#include "resource/locks.h"

namespace stasis::capture {
namespace {

// The most that an eventfd can count: as a semaphore it is readable whatever the program does.
constexpr u64 kEndlessCount = ~u64{0} - 1;

// One descriptor in the list that is sorted so that those of one open file are neighbours.
struct Candidate {
  const resource::FdFacts* facts;
  model::OpenFileIndex* index;
};

// kcmp's order of open files: 0 equal, 1 less, 2 greater (kcmp(2)).
Result<long> compare_files(const resource::FdFacts& a, const resource::FdFacts& b) {
  return sys::raw("compare", a.describe() + " and " + b.describe(), SYS_kcmp, a.pid, b.pid,
                  KCMP_FILE, a.number, b.number);
}

bool same_inode(const resource::FdFacts& a, const resource::FdFacts& b) {
  return a.status.st_dev == b.status.st_dev && a.status.st_ino == b.status.st_ino;
}

Result<void> sort_by_open_file(std::vector<Candidate>& candidates) {
  std::optional<Error> failed;
  std::stable_sort(candidates.begin(), candidates.end(), [&](const auto& a, const auto& b) {
    const auto inode_a = std::pair(a.facts->status.st_dev, a.facts->status.st_ino);
    const auto inode_b = std::pair(b.facts->status.st_dev, b.facts->status.st_ino);
    if (inode_a != inode_b) return inode_a < inode_b;
    auto order = compare_files(*a.facts, *b.facts);
    if (!order) failed = order.error();
    return order.ok() && *order == 1;
  });
  if (failed) return *failed;
  return {};
}

}  // namespace

void allow_many_descriptors() {
  rlimit limit = {};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  (void)::setrlimit(RLIMIT_NOFILE, &limit);  // if not, duplicating says what is wrong
}

Result<void> Builder::load_table(Pid pid, std::vector<Refusal>& refusals) {
  const Pid thread = proc::live_thread(pid);
  auto pidfd = sys::pidfd_open(thread, thread != pid);
  if (!pidfd && thread != pid && pidfd.error().code == EINVAL) {
    refusals.push_back({.subject = "process " + proc::describe(pid),
                        .reason = "its first thread has ended, and this kernel does not give "
                                  "out the descriptors of such a process (Linux 6.9 does)",
                        .advice = {}});
    return {};
  }
  if (!pidfd) return std::move(pidfd).take_error();
  ProcessDescriptors table{
      .pid = pid, .thread = thread, .pidfd = std::move(*pidfd), .facts = {}, .open_files = {}};
  for (const int number : TRY(proc::read_descriptors(thread))) {
    auto facts = resource::read_facts(thread, -1, number);
    if (!facts && (facts.error().code == EBADF || facts.error().code == ENOENT)) continue;
    table.facts.push_back(TRY(std::move(facts)));
  }
  table.open_files.resize(table.facts.size());
  descriptors_.push_back(std::move(table));
  return {};
}

Result<void> Builder::duplicate_first_of_each() {
  allow_many_descriptors();
  std::vector<bool> done(image.open_files.size(), false);
  for (ProcessDescriptors& table : descriptors_) {
    for (size_t i = 0; i < table.facts.size(); ++i) {
      if (done[table.open_files[i]]) continue;
      auto facts = resource::read_facts(table.thread, table.pidfd.get(), table.facts[i].number);
      if (!facts && (facts.error().code == EBADF || facts.error().code == ENOENT)) continue;
      table.facts[i] = TRY(std::move(facts));
      done[table.open_files[i]] = true;
    }
    table.pidfd.reset();
  }
  return {};
}

Result<void> Builder::load_descriptors(std::vector<Refusal>& refusals) {
  for (const Pid pid : pids_) TRY(load_table(pid, refusals));
  TRY(group_open_files());
  TRY(duplicate_first_of_each());
  for (const ProcessDescriptors& table : descriptors_) {
    for (const resource::FdFacts& facts : table.facts) {
      if (!facts.duplicate) continue;
      const auto found = resource::obstacles(facts, *this);
      refusals.insert(refusals.end(), found.begin(), found.end());
    }
  }
  return {};
}

Result<void> Builder::group_open_files() {
  std::vector<Candidate> candidates;
  for (ProcessDescriptors& table : descriptors_) {
    for (size_t i = 0; i < table.facts.size(); ++i) {
      candidates.push_back({&table.facts[i], &table.open_files[i]});
    }
  }
  std::vector<Candidate> sorted = candidates;
  TRY(sort_by_open_file(sorted));
  // Number the groups in the order in which the descriptors were first seen.
  std::map<const resource::FdFacts*, const resource::FdFacts*> first_of;
  for (size_t i = 0; i < sorted.size(); ++i) {
    const resource::FdFacts* facts = sorted[i].facts;
    const resource::FdFacts* previous = i == 0 ? nullptr : sorted[i - 1].facts;
    const bool same = previous != nullptr && same_inode(*previous, *facts) &&
                      TRY(compare_files(*previous, *facts)) == 0;
    first_of[facts] = same ? first_of[previous] : facts;
  }
  std::map<const resource::FdFacts*, model::OpenFileIndex> index_of;
  for (const Candidate& candidate : candidates) {
    const resource::FdFacts* first = first_of[candidate.facts];
    if (!index_of.contains(first)) {
      index_of[first] = static_cast<model::OpenFileIndex>(image.open_files.size());
      image.open_files.emplace_back();
    }
    *candidate.index = index_of[first];
  }
  return {};
}

Result<void> Builder::capture_descriptors() {
  std::vector<bool> done(image.open_files.size(), false);
  for (const ProcessDescriptors& table : descriptors_) {
    for (size_t i = 0; i < table.facts.size(); ++i) {
      const model::OpenFileIndex index = table.open_files[i];
      if (done[index]) {
        // A process's own locks are seen through its own descriptors only.
        resource::add_locks(table.facts[i], image.open_files[index]);
        continue;
      }
      const model::ResourceIndex resource = TRY(resource_for(table.facts[i]));
      image.open_files[index] =
          TRY(resource::capture_open_file(table.facts[i], resource, image.resources[resource]));
      done[index] = true;
    }
  }
  return {};
}

void Builder::sketch_descriptors() {
  std::vector<bool> done(image.open_files.size(), false);
  for (ProcessDescriptors& table : descriptors_) {
    for (size_t i = 0; i < table.facts.size(); ++i) {
      const resource::FdFacts& facts = table.facts[i];
      const model::OpenFileIndex index = table.open_files[i];
      if (done[index] || !facts.duplicate) continue;
      const u32 mode = facts.status.st_mode;
      const bool plain = (S_ISREG(mode) || S_ISDIR(mode) || S_ISCHR(mode)) &&
                         facts.link.starts_with('/') && !facts.link.ends_with(" (deleted)");
      auto resource = plain ? resource_for(facts) : add_resource(model::EventFd{}, {});
      if (!resource) resource = add_resource(model::EventFd{}, {});
      image.open_files[index] = {.resource = *resource, .flags = facts.info.flags};
      done[index] = true;
    }
  }
  // Those that were closed meanwhile.
  for (size_t i = 0; i < done.size(); ++i) {
    if (!done[i]) image.open_files[i] = {.resource = add_resource(model::EventFd{}, {})};
  }
}

Result<model::ResourceIndex> Builder::resource_for(const resource::FdFacts& facts) {
  if (S_ISFIFO(facts.status.st_mode) && options_.request_handles.contains(facts.status.st_ino)) {
    return add_resource(model::EventFd{.count = kEndlessCount, .semaphore = true}, {});
  }
  const resource::Handler* handler = resource::handler_for(facts);
  if (handler == nullptr) {
    const Refusal refusal = resource::refuse_unknown(facts);
    return fail(EOPNOTSUPP, refusal.subject + ": " + refusal.reason, refusal.advice);
  }
  const std::string identity = handler->identity(facts);
  const std::string key =
      identity.empty() ? std::string() : fmt::format("{}:{}", handler->kind, identity);
  if (const auto known = resources_by_key_.find(key);
      !key.empty() && known != resources_by_key_.end()) {
    return known->second;
  }
  return add_resource(TRY(handler->capture(facts, *this)), key);
}

model::ResourceIndex Builder::add_resource(model::Resource resource, const std::string& key) {
  const auto index = static_cast<model::ResourceIndex>(image.resources.size());
  image.resources.push_back(std::move(resource));
  if (!key.empty()) resources_by_key_[key] = index;
  return index;
}

std::vector<model::Descriptor> Builder::descriptors(Pid pid) const {
  std::vector<model::Descriptor> result;
  for (const ProcessDescriptors& table : descriptors_) {
    if (table.pid != pid) continue;
    for (size_t i = 0; i < table.facts.size(); ++i) {
      result.push_back({.number = table.facts[i].number,
                        .close_on_exec = (table.facts[i].info.flags & O_CLOEXEC) != 0,
                        .open_file = table.open_files[i]});
    }
  }
  return result;
}

std::optional<model::OpenFileIndex> Builder::open_file(Pid pid, int number) {
  for (const ProcessDescriptors& table : descriptors_) {
    if (table.pid != pid && table.thread != pid) continue;
    const auto found =
        std::ranges::lower_bound(table.facts, number, {}, &resource::FdFacts::number);
    if (found != table.facts.end() && found->number == number) {
      return table.open_files[static_cast<size_t>(found - table.facts.begin())];
    }
  }
  return std::nullopt;
}

bool Builder::in_image(Pid pid) {
  const auto is_member = [&](Pid id) {
    return std::find(pids_.begin(), pids_.end(), id) != pids_.end();
  };
  if (is_member(pid)) return true;
  const auto status = proc::read_status(pid);
  if (!status) return false;
  if (status->tgid != pid) return is_member(status->tgid);
  return status->state == 'Z' && status->threads <= 1 && is_member(status->parent);
}

bool Builder::has_peer(u64 pipe_inode, bool want_reader) {
  for (const ProcessDescriptors& table : descriptors_) {
    for (const resource::FdFacts& facts : table.facts) {
      if (!S_ISFIFO(facts.status.st_mode) || facts.status.st_ino != pipe_inode) continue;
      const u32 mode = facts.info.flags & O_ACCMODE;
      if (mode == O_RDWR || mode == static_cast<u32>(want_reader ? O_RDONLY : O_WRONLY))
        return true;
    }
  }
  return false;
}

std::vector<std::string> Builder::links_of(const struct stat& object) {
  std::vector<std::string> links;
  for (const ProcessDescriptors& table : descriptors_) {
    for (const resource::FdFacts& facts : table.facts) {
      if (facts.status.st_dev == object.st_dev && facts.status.st_ino == object.st_ino) {
        links.push_back(facts.link);
      }
    }
  }
  return links;
}

u64 Builder::controlling_terminal(Pid pid) {
  const auto stat = proc::read_stat(pid);
  return stat.ok() ? static_cast<u64>(static_cast<u32>(stat->terminal)) : 0;
}

}  // namespace stasis::capture
