// judge(): ids first (well-formed, for everybody), then whose image it is.
#include "restart/trust.h"

#include <fmt/format.h>
#include <grp.h>
#include <linux/magic.h>
#include <pwd.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <sstream>

#include "base/sys.h"
#include "resource/writers.h"

namespace stasis::restart {
namespace {

constexpr size_t kIds = 4;          // real, effective, saved, filesystem
constexpr u32 kNoChange = ~u32{0};  // to setresuid(2): leave it as it is
// Not chown: who made the image may have it open still, and write another one into it afterwards.
constexpr const char* kMakeCopy = "install -o root -m 400 IMAGE COPY";

std::string name_of(const model::Process& process) {
  const std::string name = process.threads.empty() ? "" : process.threads.front().name;
  return fmt::format("process {} ({})", process.pid, name);
}

bool all_are(const std::vector<u32>& ids, u32 wanted) {
  return std::ranges::all_of(ids, [&](u32 id) { return id == wanted; });
}

u64 all_capabilities(const model::Credentials& who) {
  return who.permitted | who.effective | who.inheritable | who.ambient;
}

class Judge {
 public:
  Judge(const model::Image& image, const ImageSource& source, const Caller& caller,
        const GroupsOfUser& groups_of)
      : image_(image), source_(source), caller_(caller), groups_of_(groups_of) {}

  Trust run() {
    for (const model::Process& process : image_.processes) check_ids(process);
    if (!trust_.refusals.empty()) return std::move(trust_);
    if (caller_.real != caller_.effective || caller_.other_group) {
      refuse("cr_restart", "it runs with the rights of another user than who started it",
             "take the set-id bit from the command; sudo is the way to restart as root");
    } else if (caller_.effective == 0) {
      judge_for_root();
    } else {
      judge_for_user();
    }
    return std::move(trust_);
  }

 private:
  void refuse(std::string subject, std::string reason, std::string advice) {
    trust_.refusals.push_back({std::move(subject), std::move(reason), std::move(advice), EPERM});
  }

  void check_ids(const model::Process& process) {
    const model::Credentials& who = process.credentials;
    const bool whole = who.uids.size() == kIds && who.gids.size() == kIds;
    const auto real = [](const std::vector<u32>& ids) {
      return std::ranges::find(ids, kNoChange) == ids.end();
    };
    if (whole && real(who.uids) && real(who.gids) && real(who.groups)) return;
    refuse(name_of(process), "the image does not say with which user and group ids it ran", "");
  }

  // The command's own rights are for making ids, not for programs.
  void judge_for_user() {
    if (source_.owner != caller_.effective && source_.owner != 0) {
      trust_.notes.push_back(
          fmt::format("the image is user {}'s; its programs run with the rights of user {} here",
                      source_.owner, caller_.effective));
    }
    if (!caller_.by_file) return;
    trust_.honour_capabilities = false;
    trust_.full = false;
    for (const model::Process& process : image_.processes) {
      check_one_user(process, caller_.effective);
      check_no_privilege(process);
    }
  }

  void judge_for_root() {
    if ((source_.mode & (S_IWGRP | S_IWOTH)) != 0 && source_.is_file) {
      return refuse("the image", "others than its owner may write it",
                    "chmod go-w, if you know that it is what it was");
    }
    // What root pipes in has no owner that could be asked for: it gets root's own ids or none.
    if (source_.owner == 0 && !source_.is_file) return judge_pipe_of_root();
    if (source_.owner != 0) return judge_users(source_.owner);
    if (source_.open_for_writing) {
      return refuse("the image",
                    "another process has it open for writing: what is restarted need not be what "
                    "was looked at",
                    std::string("look at a copy and restart that: ") + kMakeCopy);
    }
    if (source_.forgeable_owner) judge_forgeable();
  }

  // Its one user is not known to have made it, but nor is the owner of a user's image there.
  void judge_forgeable() {
    const auto& processes = image_.processes;
    const u32 user = processes.empty() ? 0 : processes.front().credentials.uids.front();
    const bool one_user = std::ranges::all_of(processes, [&](const model::Process& process) {
      return all_are(process.credentials.uids, user);
    });
    if (user != 0 && one_user) return judge_users(user);
    refuse("the image",
           "its file system is mounted nosuid: that root owns it there may be anybody's word, and "
           "it asks for the rights of root or of several users",
           std::string("if you know that it is what it says, restart a copy: ") + kMakeCopy);
  }

  void judge_users(u32 user) {
    trust_.full = false;
    trust_.honour_capabilities = false;
    const auto groups = groups_of_(user);
    for (const model::Process& process : image_.processes) {
      check_one_user(process, user);
      check_no_privilege(process);
      check_groups(process, user, groups);
    }
  }

  void judge_pipe_of_root() {
    for (const model::Process& process : image_.processes) {
      if (all_are(process.credentials.uids, 0)) continue;
      refuse(name_of(process),
             fmt::format("it ran as user {}, and an image out of a pipe has no owner who could "
                         "vouch for that",
                         fmt::join(process.credentials.uids, " ")),
             "put the image into a file of that user or of root");
    }
  }

  [[nodiscard]] std::string whose(u32 user) const {
    return caller_.effective == 0 ? fmt::format("the image is user {}'s", user)
                                  : fmt::format("user {} restarts it", user);
  }

  void check_one_user(const model::Process& process, u32 user) {
    const model::Credentials& who = process.credentials;
    if (all_are(who.uids, user)) return;
    refuse(
        name_of(process),
        fmt::format("it ran with the user ids {}, but {}", fmt::join(who.uids, " "), whose(user)),
        caller_.effective == 0
            ? std::string("restart it as that user (su), or look at a copy and, if it is what it "
                          "says, restart that: ") +
                  kMakeCopy
            : "restart it as that user");
  }

  void check_no_privilege(const model::Process& process) {
    const u64 held = all_capabilities(process.credentials);
    if (held == 0 && process.credentials.securebits == 0) return;
    refuse(name_of(process),
           fmt::format("it had the capabilities {:#x} and secure bits {:#x}, which only an image "
                       "of root's can give",
                       held, process.credentials.securebits),
           "");
  }

  void check_groups(const model::Process& process, u32 user,
                    const std::optional<std::vector<u32>>& groups) {
    const model::Credentials& who = process.credentials;
    std::vector<u32> wanted = who.gids;
    wanted.insert(wanted.end(), who.groups.begin(), who.groups.end());
    // A user whom the database does not know has the group of his own number only.
    const std::vector<u32> allowed = groups ? *groups : std::vector<u32>{user};
    for (const u32 group : wanted) {
      if (std::ranges::find(allowed, group) != allowed.end()) continue;
      return refuse(
          name_of(process),
          fmt::format("it belonged to group {}, of which user {} is no member", group, user),
          "restart it as that user (su)");
    }
  }

  const model::Image& image_;
  const ImageSource& source_;
  const Caller& caller_;
  const GroupsOfUser& groups_of_;
  Trust trust_;
};

// A namespace of one user id (unshare -r) has nobody to protect from anybody.
bool knows_several_users() {
  const auto map = sys::read_file("/proc/self/uid_map");
  u64 inside = 0, outside = 0, count = 0;
  return !map || !(std::istringstream(*map) >> inside >> outside >> count) || count != 1;
}

// Mounted nosuid by whoever does not believe what it says: a stick, FUSE, another machine's disk.
// What tmpfs says is the kernel's own word; /tmp and /dev/shm are mounted so everywhere.
bool has_forgeable_owner(int fd) {
  struct statvfs mount = {};
  struct statfs about = {};
  if (::fstatvfs(fd, &mount) != 0 || ::fstatfs(fd, &about) != 0) return true;
  return (mount.f_flag & ST_NOSUID) != 0 && about.f_type != TMPFS_MAGIC && knows_several_users();
}

}  // namespace

ImageSource source_of(int fd) {
  const auto status = sys::fstat(fd);
  if (!status) return {.is_file = false, .owner = ~u32{0}, .mode = 0};
  ImageSource source{
      .is_file = S_ISREG(status->st_mode), .owner = status->st_uid, .mode = status->st_mode};
  if (::geteuid() != 0 || source.owner != 0 || !source.is_file) return source;
  source.open_for_writing = resource::may_be_open_for_writing(fd);
  source.forgeable_owner = has_forgeable_owner(fd);
  return source;
}

Caller this_caller() {
  return {.real = ::getuid(),
          .effective = ::geteuid(),
          .other_group = ::getgid() != ::getegid(),
          .by_file = ::getauxval(AT_SECURE) != 0};
}

std::optional<std::vector<u32>> groups_of_user(u32 uid) {
  constexpr size_t kMostText = size_t{1} << 20;
  std::vector<char> text(4096);
  passwd entry = {};
  passwd* found = nullptr;
  while (::getpwuid_r(uid, &entry, text.data(), text.size(), &found) == ERANGE) {
    if (text.size() >= kMostText) return std::nullopt;
    text.resize(text.size() * 2);
  }
  if (found == nullptr) return std::nullopt;
  std::vector<gid_t> groups(64);
  auto count = static_cast<int>(groups.size());
  if (::getgrouplist(entry.pw_name, entry.pw_gid, groups.data(), &count) < 0) {
    groups.resize(static_cast<size_t>(count));
    if (::getgrouplist(entry.pw_name, entry.pw_gid, groups.data(), &count) < 0) return std::nullopt;
  }
  groups.resize(static_cast<size_t>(count));
  return std::vector<u32>(groups.begin(), groups.end());
}

Trust judge(const model::Image& image, const ImageSource& source, const Caller& caller,
            const GroupsOfUser& groups_of) {
  return Judge(image, source, caller, groups_of).run();
}

}  // namespace stasis::restart
