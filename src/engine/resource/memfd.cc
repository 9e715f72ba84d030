// memfds: name, size, contents, permissions, seals; huge pages too. A memfd is filled first and
// sealed afterwards, in two steps: F_SEAL_FUTURE_WRITE allows mappings made before it, so it waits
// until memory has been mapped.
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <algorithm>
#include <bit>
#include <cerrno>

#include "base/sys.h"
#include "resource/content.h"
#include "resource/kinds.h"
#include "resource/path.h"
#include "resource/uses.h"
#include "resource/work_folder.h"

#ifndef F_SEAL_EXEC
#define F_SEAL_EXEC 0x0020
#endif
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#define MFD_EXEC 0x0010U
#endif

namespace stasis::resource {
namespace {

using model::Memfd;

constexpr std::string_view kPrefix = "/memfd:";
constexpr unsigned kHugeShift = 26;  // MFD_HUGE_SHIFT
constexpr u32 kAfterMapping = F_SEAL_FUTURE_WRITE | F_SEAL_SEAL;

bool recognises(const FdFacts& facts) {
  return facts.link.starts_with(kPrefix) && S_ISREG(facts.status.st_mode) &&
         facts.status.st_nlink == 0;
}

std::string identity(const FdFacts& facts) {
  return fmt::format("memfd:{}:{}", facts.status.st_dev, facts.status.st_ino);
}

u32 huge_page_log2(int fd) {
  struct statfs about = {};
  if (::fstatfs(fd, &about) != 0 || about.f_type != HUGETLBFS_MAGIC) return 0;
  return static_cast<u32>(std::bit_width(static_cast<u64>(about.f_bsize)) - 1);
}

Result<model::Resource> capture(const FdFacts& facts, CaptureContext& context) {
  Memfd memfd;
  memfd.name = split_link(facts.link).path.substr(kPrefix.size());
  memfd.inode = facts.status.st_ino;
  memfd.size = static_cast<u64>(facts.status.st_size);
  memfd.mode = facts.status.st_mode;
  memfd.uid = facts.status.st_uid;
  memfd.gid = facts.status.st_gid;
  memfd.huge_page_log2 = huge_page_log2(facts.duplicate.get());
  UniqueFd content = TRY(open_for_capture(facts));  // as O_PATH does not show the seals
  const int seals = TRY(
      sys::check(::fcntl(content.get(), F_GET_SEALS), "ask for the seals of", facts.describe()));
  memfd.seals = static_cast<u32>(seals);
  memfd.content = TRY(context.add_content(std::move(content), memfd.size, facts.link));
  return model::Resource(memfd);
}

// ------------------------------------------------------------------ restart

Result<UniqueFd> make(const Memfd& memfd) {
  unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  if (memfd.huge_page_log2 != 0) flags |= MFD_HUGETLB | (memfd.huge_page_log2 << kHugeShift);
  const bool never_executable = (memfd.seals & F_SEAL_EXEC) != 0;
  const unsigned way = never_executable ? MFD_NOEXEC_SEAL : MFD_EXEC;
  int fd = ::memfd_create(memfd.name.c_str(), flags | way);
  // Before Linux 6.3 neither flag exists.
  if (fd < 0 && !never_executable) fd = ::memfd_create(memfd.name.c_str(), flags);
  return UniqueFd(TRY(sys::check(fd, "make", fmt::format("memfd {}", memfd.name))));
}

// hugetlbfs takes no write(2).
Result<void> fill_by_mapping(int fd, const Memfd& memfd, RestoreContext& context) {
  if (memfd.size == 0) return {};
  TRY(sys::check(::ftruncate(fd, static_cast<off_t>(memfd.size)), "set the size of", memfd.name));
  void* start = ::mmap(nullptr, memfd.size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (start == MAP_FAILED) {
    Error error = sys::last_error("map", fmt::format("memfd {} of huge pages", memfd.name));
    error.hint = "see /proc/sys/vm/nr_hugepages";
    return error;
  }
  const sys::Mapping mapping(start, memfd.size);
  for (const model::Run& run : context.image.spaces[memfd.content].runs) {
    if (run.kind != model::RunKind::kData || run.offset >= memfd.size) continue;
    const u64 length = std::min(run.length, memfd.size - run.offset);
    const model::Run part{run.offset, length, run.kind};
    TRY(context.pages.read(memfd.content, std::span(&part, 1),
                           mapping.bytes().subspan(run.offset, length)));
  }
  return {};
}

Result<UniqueFd> make_filled(const Memfd& memfd, RestoreContext& context) {
  if (memfd.content >= context.image.spaces.size()) {
    return fail(EINVAL, fmt::format("the image lacks the content of memfd {}", memfd.name));
  }
  UniqueFd fd = TRY(make(memfd));
  const auto fill = memfd.huge_page_log2 != 0 ? fill_by_mapping(fd.get(), memfd, context)
                                              : write_content(fd.get(), memfd.content, context);
  TRY(Result<void>(fill).context(fmt::format("cannot fill memfd {}", memfd.name)));
  return fd;
}

std::vector<Refusal> restore_obstacles(const model::Resource& resource,
                                       const RestoreContext& context) {
  const auto& memfd = std::get<Memfd>(resource);
  const auto made = make(memfd);
  if (made) return {};
  return {{subject_of(context.image, resource, "memfd:" + memfd.name), made.error().message(), ""}};
}

Result<UniqueFd> create(model::OpenFileIndex index, RestoreContext& context) {
  const model::OpenFile& open_file = context.image.open_files[index];
  const int made = TRY(memfd_descriptor(open_file.resource, context));
  const auto given = std::pair(open_file.resource, std::string("given"));
  if (access_mode(open_file.flags) == O_RDWR && !context.made.contains(given)) {
    context.made[given] = TRY(sys::duplicate(made));
    return sys::duplicate(made);
  }
  constexpr u32 kFlags = O_ACCMODE | O_APPEND | O_NONBLOCK | O_PATH;
  return sys::open(fd_path(made), static_cast<int>(open_file.flags & kFlags))
      .context(subject_of(context.image, index, "memfd"));
}

}  // namespace

Result<int> memfd_descriptor(model::ResourceIndex resource, RestoreContext& context) {
  const auto key = std::pair(resource, std::string("content"));
  const auto found = context.made.find(key);
  if (found != context.made.end()) return found->second.get();
  const auto& memfd = std::get<Memfd>(context.image.resources[resource]);
  UniqueFd made = TRY(make_filled(memfd, context));
  return (context.made[key] = std::move(made)).get();
}

Result<void> seal_memfd(model::ResourceIndex resource, bool mapped, RestoreContext& context) {
  const auto* memfd = std::get_if<Memfd>(&context.image.resources[resource]);
  const auto found = context.made.find({resource, "content"});
  if (memfd == nullptr || found == context.made.end()) return {};
  const int fd = found->second.get();
  const bool wait = !mapped && (memfd->seals & F_SEAL_FUTURE_WRITE) != 0;
  const u32 wanted = wait ? memfd->seals & ~kAfterMapping : memfd->seals;
  const auto have =
      static_cast<u32>(TRY(sys::check(::fcntl(fd, F_GET_SEALS), "look at", memfd->name)));
  const std::string subject = fmt::format("memfd {}", memfd->name);
  const Acting acting = TRY(context.rights.act_to_make(resource));
  const model::FileIdentity owner{.mode = memfd->mode, .uid = memfd->uid, .gid = memfd->gid};
  TRY(give_permissions(fd, owner, subject, context.rights.making_of(resource), context));
  if ((have & wanted) == wanted) return {};
  TRY(sys::check(::fcntl(fd, F_ADD_SEALS, static_cast<int>(wanted & ~have)), "seal", subject));
  return {};
}

const Handler kMemfdHandler = {
    .kind = Memfd::kKind,
    .recognises = recognises,
    .obstacle = [](const FdFacts&, CaptureContext&) { return std::optional<Refusal>(); },
    .identity = identity,
    .capture = capture,
    .restore_obstacles = restore_obstacles,
    .create = create,
    .settle = nullptr};

}  // namespace stasis::resource
