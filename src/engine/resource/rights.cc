// Effective ids, groups and capabilities of this thread, changed and changed back; and who holds
// what of an image.
#include "resource/rights.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <optional>

#include "base/sys.h"

namespace stasis::resource {
namespace {

struct Sets {
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};

  [[nodiscard]] u64 effective() const { return u64{data[1].effective} << 32 | data[0].effective; }
  [[nodiscard]] u64 permitted() const { return u64{data[1].permitted} << 32 | data[0].permitted; }
  void set_effective(u64 sets) {
    data[0].effective = static_cast<u32>(sets);
    data[1].effective = static_cast<u32>(sets >> 32);
  }
};

Result<Sets> read_sets() {
  Sets sets;
  TRY(sys::raw("read", "our capabilities", SYS_capget, &sets.header, sets.data));
  return sets;
}

Result<void> set_effective(u64 wanted) {
  Sets sets = TRY(read_sets());
  const u64 possible = wanted & sets.permitted();
  if (sets.effective() == possible) return {};
  sets.set_effective(possible);
  TRY(sys::raw("change", "our capabilities", SYS_capset, &sets.header, sets.data));
  return {};
}

// libc's wrappers would change all threads by a signal; these are for this one.
Result<void> become(const Identity& wanted) {
  const Identity now = TRY(own_identity());
  if (now == wanted) return {};
  // Back to where changing is allowed; the real id and the permitted set were kept for this.
  if (now.uid != wanted.uid && now.uid != ::getuid()) {
    TRY(sys::raw("take back", "our user id", SYS_setresuid, -1L, static_cast<long>(::getuid()),
                 -1L));
  }
  TRY(set_effective(~u64{0}));
  if (now.groups != wanted.groups) {
    TRY(sys::raw("take", "the groups of the image", SYS_setgroups, wanted.groups.size(),
                 wanted.groups.data()));
  }
  if (now.gid != wanted.gid) {
    TRY(sys::raw("take", fmt::format("group id {}", wanted.gid), SYS_setresgid, -1L,
                 static_cast<long>(wanted.gid), -1L));
  }
  if (static_cast<u32>(::geteuid()) != wanted.uid) {
    TRY(sys::raw("take", fmt::format("user id {}", wanted.uid), SYS_setresuid, -1L,
                 static_cast<long>(wanted.uid), -1L));
  }
  return set_effective(wanted.capabilities);
}

std::vector<Identity> identities_of(const model::Image& image, const Identity& ours,
                                    bool honour_capabilities) {
  std::vector<Identity> all;
  for (const model::Process& process : image.processes) {
    const model::Credentials& saved = process.credentials;
    Identity one = ours;
    if (ours.uid == 0 && saved.uids.size() == 4 && saved.gids.size() == 4) {
      one.uid = saved.uids[3];
      one.gid = saved.gids[3];
      one.groups = saved.groups;
    }
    one.capabilities = honour_capabilities ? ours.capabilities & saved.effective : 0;
    all.push_back(std::move(one));
  }
  return all;
}

bool holds(const model::Image& image, const model::Process& process,
           model::ResourceIndex resource) {
  if (process.executable == resource) return true;
  const auto is_it = [&](const model::Descriptor& each) {
    return image.open_files[each.open_file].resource == resource;
  };
  const auto maps_it = [&](const model::Vma& vma) { return vma.resource == resource; };
  return std::ranges::any_of(process.descriptors, is_it) ||
         std::ranges::any_of(process.memory.vmas, maps_it);
}

// Whoever has the fewest rights among holders: root only where nobody else holds it.
std::vector<Identity> least(std::vector<Identity> holders) {
  const bool others =
      std::ranges::any_of(holders, [](const Identity& each) { return each.uid != 0; });
  std::vector<Identity> kept;
  for (Identity& each : holders) {
    if (others && each.uid == 0) continue;
    if (std::ranges::find(kept, each) == kept.end()) kept.push_back(std::move(each));
  }
  return kept;
}

struct NamedThing {
  std::string path;
  u64 device = 0, inode = 0;
};

NamedThing named(const model::Resource& resource) {
  if (const auto* file = std::get_if<model::RegularFile>(&resource)) {
    if (file->content || file->deleted) return {};
    return {file->path, file->identity.device, file->identity.inode};
  }
  if (const auto* directory = std::get_if<model::Directory>(&resource)) {
    if (directory->deleted) return {};
    return {directory->path, directory->identity.device, directory->identity.inode};
  }
  return {};
}

// The saved owner of what is made again without a path; nullopt: it has a path, or has no owner.
std::optional<u32> owner_of_made(const model::Resource& resource) {
  if (const auto* file = std::get_if<model::RegularFile>(&resource)) {
    return file->content ? std::optional(file->identity.uid) : std::nullopt;
  }
  if (const auto* memfd = std::get_if<model::Memfd>(&resource)) return memfd->uid;
  if (const auto* pipe = std::get_if<model::Pipe>(&resource)) {
    return pipe->external ? std::nullopt : std::optional(pipe->uid);
  }
  return std::nullopt;
}

// What belongs to the only user who holds it, but for root, is made by that user; what only root
// holds by root as ever. `least`: see above.
bool is_made_by_root(const model::Resource& resource, const std::vector<Identity>& least) {
  const auto owner = owner_of_made(resource);
  if (!owner || least.empty()) return false;
  const u32 first = least.front().uid;
  const bool one_user =
      std::ranges::all_of(least, [&](const Identity& each) { return each.uid == first; });
  return !one_user || (first != 0 && owner != first);
}

bool are_several_users(const std::vector<Identity>& holders) {
  return std::ranges::any_of(holders,
                             [&](const Identity& each) { return each.uid != holders.front().uid; });
}

bool only_root_changes(const struct stat& status) {
  return status.st_uid == 0 && (status.st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

bool only_root_replaces(const struct stat& status) {
  return only_root_changes(status) || (status.st_uid == 0 && (status.st_mode & S_ISVTX) != 0);
}

// The thing at an absolute path, reached without any link through folders that `may_be`.
Result<UniqueFd> walk(const std::string& path, bool (*may_be)(const struct stat& folder)) {
  const Error refused = fail(EPERM, path + ": not only root can change what is there");
  if (!path.starts_with('/')) return refused;
  UniqueFd at = TRY(sys::open("/", O_PATH | O_DIRECTORY));
  for (size_t start = 1; start < path.size();) {
    if (!may_be(TRY(sys::fstat(at.get())))) return refused;
    const size_t end = std::min(path.find('/', start), path.size());
    const std::string name = path.substr(start, end - start);
    if (name == "..") return refused;
    if (!name.empty()) at = TRY(sys::open_at(at.get(), name, O_PATH | O_NOFOLLOW));
    start = end + 1;
  }
  return at;
}

}  // namespace

Result<Identity> own_identity() {
  Identity own{.uid = ::geteuid(), .gid = ::getegid(), .groups = {}, .capabilities = 0};
  const long count = TRY(sys::raw("read", "our groups", SYS_getgroups, 0, nullptr));
  own.groups.resize(static_cast<size_t>(count));
  TRY(sys::raw("read", "our groups", SYS_getgroups, own.groups.size(), own.groups.data()));
  own.capabilities = TRY(read_sets()).effective();
  return own;
}

const Identity* Rights::only() const {
  if (processes.empty()) return nullptr;
  const Identity& first = processes.front();
  const bool same =
      std::ranges::all_of(processes, [&](const Identity& each) { return each == first; });
  return same ? &first : nullptr;
}

Making Rights::making_of(size_t resource) const {
  return resource < making.size() ? making[resource] : Making();
}

Result<Acting> Rights::act_for_holder(size_t resource) const {
  if (resource >= resources.size() || resources[resource].empty()) return Acting();
  return Acting::as(resources[resource].front());
}

Result<Acting> Rights::act_to_make(size_t resource) const {
  return making_of(resource).by_root ? Acting::as(ours) : act_for_holder(resource);
}

Rights rights_of(const model::Image& image, const Identity& ours, bool honour_capabilities,
                 bool trusted) {
  Rights rights{.resources = {},
                .making = {},
                .ours = ours,
                .processes = identities_of(image, ours, honour_capabilities)};
  for (model::ResourceIndex i = 0; i < image.resources.size(); ++i) {
    std::vector<Identity> holders;
    for (size_t p = 0; p < image.processes.size(); ++p) {
      if (holds(image, image.processes[p], i)) holders.push_back(rights.processes[p]);
    }
    if (holders.empty()) holders = rights.processes;
    Making making{.by_root = false, .several_users = are_several_users(holders)};
    holders = least(std::move(holders));
    making.by_root = trusted && ours.uid == 0 && is_made_by_root(image.resources[i], holders);
    rights.making.push_back(making);
    const bool all_root =
        std::ranges::all_of(holders, [](const Identity& each) { return each.uid == 0; });
    if (trusted && ours.uid == 0 && !all_root) {
      const NamedThing thing = named(image.resources[i]);
      if (is_roots_alone(thing.path, thing.device, thing.inode)) holders = {ours};
    }
    rights.resources.push_back(std::move(holders));
  }
  return rights;
}

bool is_roots_alone(const std::string& path, u64 device, u64 inode) {
  const auto at = walk(path, only_root_changes);
  if (!at) return false;
  const auto found = sys::fstat(at->get());
  return found && found->st_dev == device && found->st_ino == inode && !S_ISLNK(found->st_mode);
}

Result<UniqueFd> open_roots_folder(const std::string& path) {
  UniqueFd folder = TRY(walk(path, only_root_replaces));
  const struct stat status = TRY(sys::fstat(folder.get()));
  if (S_ISDIR(status.st_mode) && only_root_replaces(status)) return folder;
  return fail(EPERM, path + ": it is no directory of root's");
}

Result<Acting> Acting::as(const Identity& identity) {
  Acting acting;
  acting.before_ = TRY(own_identity());
  if (acting.before_ == identity) return acting;
  // A change of the effective user clears this mark, and ours must not be lost by it.
  acting.dumpable_ = TRY(sys::check(::prctl(PR_GET_DUMPABLE, 0, 0, 0, 0), "read", "dumpable"));
  acting.changed_ = true;  // from here on: what was half done is undone as well
  TRY(become(identity).context("cannot act for the user of the image"));
  return acting;
}

Acting::Acting(Acting&& other) noexcept
    : before_(std::move(other.before_)),
      changed_(std::exchange(other.changed_, false)),
      dumpable_(other.dumpable_) {}

Acting::~Acting() {
  if (!changed_) return;
  // Going on with a mixture of two users' rights would be worse than any end.
  if (!become(before_)) std::abort();
  (void)::prctl(PR_SET_DUMPABLE, dumpable_ == 1 ? 1 : 0, 0, 0, 0);  // 2 cannot be set
}

}  // namespace stasis::resource
