// Pipes and fifos. A pipe with both ends in the image (or whose other end nobody holds) is made
// again with its size and what waited in it. A pipe to a program outside follows cr_restart's
// descriptor of the same number, else its standard input or output, as with BLCR. A fifo is opened
// by its name, and made if it is missing.
//
// What waited in a pipe from outside is in the image but has no way back in front of what
// cr_restart's own input brings: BLCR drops it; here the restart is refused unless told to drop it.
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>

#include "base/sys.h"
#include "resource/fifo.h"
#include "resource/follow.h"
#include "resource/kinds.h"
#include "resource/locate.h"
#include "resource/pipe_data.h"
#include "resource/uses.h"
#include "resource/work_folder.h"

namespace stasis::resource {
namespace {

using model::Pipe;

constexpr u32 kOpenFlags = O_ACCMODE | O_NONBLOCK | O_DIRECT | O_APPEND;
constexpr u32 kLargeFile = 0100000;  // the kernel's O_LARGEFILE; glibc's is 0 on 64 bits

bool recognises(const FdFacts& facts) {
  return S_ISFIFO(facts.status.st_mode) && (facts.info.flags & O_PATH) == 0;
}

bool has_name(const FdFacts& facts) {
  return facts.link.starts_with('/');
}

// Whether nobody at all holds the other end: reading ends, writing breaks.
bool other_end_is_gone(const FdFacts& facts, bool reads) {
  if (!facts.duplicate) return false;
  struct pollfd query = {facts.duplicate.get(), static_cast<short>(reads ? POLLIN : POLLOUT), 0};
  if (::poll(&query, 1, 0) < 0) return false;
  return (query.revents & (reads ? POLLHUP : POLLERR)) != 0;
}

bool is_external(const FdFacts& facts, CaptureContext& context) {
  const int mode = access_mode(facts.info.flags);
  if (has_name(facts) || mode == O_RDWR) return false;
  const bool reads = mode == O_RDONLY;
  const bool want_reader = !reads;
  if (context.has_peer(facts.status.st_ino, want_reader)) return false;
  return !other_end_is_gone(facts, reads);
}

std::optional<Refusal> obstacle(const FdFacts& facts, CaptureContext& context) {
  if (!has_name(facts)) return std::nullopt;
  const Located located = locate(facts, context.links_of(facts.status));
  if (located.elsewhere) {
    return Refusal{facts.describe(),
                   "the fifo was removed under this name but has another one that cannot be found",
                   give_back_name(facts)};
  }
  if (located.deleted || is_same_file(located.path, facts.status)) return std::nullopt;
  return Refusal{facts.describe(),
                 "its path leads to another file here, or to none: it was opened in another mount "
                 "namespace, or something is mounted over it",
                 ""};
}

std::string identity(const FdFacts& facts) {
  return fmt::format("pipe:{}:{}", facts.status.st_dev, facts.status.st_ino);
}

// A read end of ours. From a write end it is opened through /proc; that adds a reader for a moment.
Result<UniqueFd> read_end(const FdFacts& facts) {
  if (access_mode(facts.info.flags) != O_WRONLY) return sys::duplicate(facts.duplicate.get());
  return sys::open(fd_path(facts.duplicate.get()), O_RDONLY | O_NONBLOCK);
}

Result<model::Resource> capture(const FdFacts& facts, CaptureContext& context) {
  const Located name = has_name(facts) ? locate(facts, context.links_of(facts.status)) : Located{};
  Pipe pipe;
  pipe.inode = facts.status.st_ino;
  pipe.path = name.path;
  pipe.deleted = name.deleted;
  pipe.mode = facts.status.st_mode;
  pipe.uid = facts.status.st_uid;
  pipe.gid = facts.status.st_gid;
  pipe.external = is_external(facts, context);
  const int capacity = TRY(sys::check(::fcntl(facts.duplicate.get(), F_GETPIPE_SZ),
                                      "ask for the size of", facts.describe()));
  pipe.capacity = static_cast<u64>(capacity);
  // What was written to a program outside is already there: it is not the image's.
  if (pipe.external && access_mode(facts.info.flags) == O_WRONLY) return model::Resource(pipe);
  // Most pipes are empty, and one that another user made could not be opened through /proc.
  if (TRY(waiting_bytes(facts.duplicate.get()).context(facts.describe())) == 0) {
    return model::Resource(pipe);
  }
  const UniqueFd reader = TRY(read_end(facts).context(facts.describe()));
  pipe.packets = TRY(peek_pipe(reader.get()).context(facts.describe()));
  return model::Resource(pipe);
}

// ------------------------------------------------------------------ restart

std::string name_of(const Pipe& pipe) {
  return pipe.path.empty() ? fmt::format("pipe:[{}]", pipe.inode) : pipe.path;
}

// Which of cr_restart's descriptors an outside pipe follows.
std::optional<int> outside_number(const model::Image& image, model::OpenFileIndex index) {
  const u32 flags = image.open_files[index].flags;
  const auto fits = [&](int number) {
    if (!requester_has(number)) return false;
    const int have = ::fcntl(number, F_GETFL) & O_ACCMODE;
    return have == O_RDWR || have == access_mode(flags);
  };
  for (const int number : numbers_of(image, index)) {
    if (fits(number)) return number;
  }
  if (access_mode(flags) == O_RDWR) return std::nullopt;
  const int standard = access_mode(flags) == O_RDONLY ? 0 : 1;
  return fits(standard) ? std::optional<int>(standard) : std::nullopt;
}

void external_obstacles(const Pipe& pipe, model::OpenFileIndex index, const RestoreContext& context,
                        std::vector<Refusal>& refusals) {
  const std::string subject = subject_of(context.image, index, name_of(pipe));
  if (!outside_number(context.image, index)) {
    const bool reads = may_read(context.image.open_files[index].flags);
    refusals.push_back(
        {subject,
         fmt::format("it was a pipe {} a program outside, and cr_restart has neither that "
                     "descriptor nor a standard {} to offer",
                     reads ? "from" : "to", reads ? "input" : "output"),
         reads ? "give one: cr_restart FILE </dev/null" : "give one: cr_restart FILE >/dev/null"});
  }
  const u64 bytes = total_size(pipe.packets);
  if (bytes == 0 || context.options.drop_pipe_data) return;
  refusals.push_back(
      {subject,
       fmt::format("{} bytes from a program outside waited in this pipe; they cannot be put "
                   "in front of cr_restart's own input and would be lost",
                   bytes),
       "use --drop-pipe-data to go on without them"});
}

std::vector<Refusal> restore_obstacles(const model::Resource& resource,
                                       const RestoreContext& context) {
  const auto& pipe = std::get<Pipe>(resource);
  if (!pipe.external && pipe.path.empty()) return {};
  const model::ResourceIndex wanted = index_of(context.image, resource);
  if (!pipe.external) {
    return fifo_obstacles(wanted, subject_of(context.image, resource, pipe.path), context);
  }
  std::vector<Refusal> refusals;
  for (model::OpenFileIndex i = 0; i < context.image.open_files.size(); ++i) {
    if (context.image.open_files[i].resource == wanted) {
      external_obstacles(pipe, i, context, refusals);
    }
  }
  return refusals;
}

Result<void> set_capacity(int fd, u64 wanted, const std::string& name) {
  const int now = TRY(sys::check(::fcntl(fd, F_GETPIPE_SZ), "ask for the size of", name));
  if (static_cast<u64>(now) == wanted) return {};
  const auto set = sys::check(::fcntl(fd, F_SETPIPE_SZ, static_cast<int>(wanted)),
                              fmt::format("set the size of {} bytes of", wanted), name);
  if (set) return {};
  Error error = set.error();
  error.hint = "see /proc/sys/fs/pipe-max-size and pipe-user-pages-soft";
  return error;
}

Result<void> make_ends(model::ResourceIndex resource, const Pipe& pipe, RestoreContext& context) {
  std::array<int, 2> ends = {-1, -1};
  TRY(sys::check(::pipe2(ends.data(), O_CLOEXEC), "make", name_of(pipe)));
  UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  TRY(set_capacity(writer.get(), pipe.capacity, name_of(pipe)));
  TRY(fill_pipe(writer.get(), pipe.packets));
  context.made[{resource, "r"}] = std::move(reader);
  context.made[{resource, "w"}] = std::move(writer);
  return {};
}

// A fifo that somebody else kept open may still hold what it held then; anything else is theirs.
Result<void> fill_fifo(int fd, const Pipe& pipe, const std::string& path) {
  const auto now = TRY(peek_pipe(fd));
  if (now == pipe.packets) return {};
  if (total_size(now) != 0) {
    return fail(
        EBUSY,
        fmt::format("cannot fill the fifo {}: it holds {} other bytes", path, total_size(now)),
        "a reader must take them out first: cat " + path);
  }
  return fill_pipe(fd, pipe.packets);
}

Result<void> open_fifo(model::ResourceIndex resource, const Pipe& pipe, RestoreContext& context) {
  const std::string path = context.relocate(pipe.path);
  UniqueFd anchor = TRY(find_or_make_fifo(resource, context));
  TRY(set_capacity(anchor.get(), pipe.capacity, path));
  TRY(fill_fifo(anchor.get(), pipe, path));
  context.made[{resource, "anchor"}] = std::move(anchor);
  return {};
}

// `named`: a descriptor of the name by which it is to be opened, or -1.
Result<UniqueFd> open_end(model::ResourceIndex resource, u32 flags, int named,
                          RestoreContext& context) {
  const int mode = access_mode(flags);
  const auto end = context.made.find({resource, mode == O_RDONLY ? "r" : "w"});
  // The ends as pipe(2) made them, if they still are to be had; a second open file of the same end
  // was made through /proc, which shows in its flags.
  if (mode != O_RDWR && (flags & kLargeFile) == 0 && end != context.made.end()) {
    const auto given = std::pair(resource, std::string(mode == O_RDONLY ? "given r" : "given w"));
    if (!context.made.contains(given)) {
      context.made[given] = TRY(sys::duplicate(end->second.get()));
      return sys::duplicate(end->second.get());
    }
  }
  int through = named;
  if (through < 0) {
    const auto anchor = context.made.find({resource, "anchor"});
    through = anchor != context.made.end() ? anchor->second.get()
                                           : context.made.at({resource, "r"}).get();
  }
  return sys::open(fd_path(through), static_cast<int>(flags & kOpenFlags));
}

Result<UniqueFd> create(model::OpenFileIndex index, RestoreContext& context) {
  const model::OpenFile& open_file = context.image.open_files[index];
  const auto& pipe = std::get<Pipe>(context.image.resources[open_file.resource]);
  const std::string subject = subject_of(context.image, index, name_of(pipe));
  if (pipe.external) {
    const auto number = outside_number(context.image, index);
    if (!number) return fail(EBADF, subject + ": cr_restart has nothing to offer in its place");
    if (total_size(pipe.packets) != 0) {
      context.notes.push_back(fmt::format("{}: {} bytes that waited in the pipe were dropped",
                                          subject, total_size(pipe.packets)));
    }
    return follow(*number, open_file.flags, subject, context);
  }
  const bool is_fifo = !pipe.path.empty();
  if (!context.made.contains({open_file.resource, is_fifo ? "anchor" : "r"})) {
    TRY((is_fifo ? open_fifo : make_ends)(open_file.resource, pipe, context).context(subject));
  }
  const int named = is_fifo ? fifo_name_descriptor(index, context) : -1;
  return open_end(open_file.resource, open_file.flags, named, context).context(subject);
}

}  // namespace

Result<void> finish_pipe(model::ResourceIndex resource, RestoreContext& context) {
  const auto* pipe = std::get_if<Pipe>(&context.image.resources[resource]);
  const auto made = context.made.find({resource, "r"});
  if (pipe == nullptr || made == context.made.end()) return {};
  const model::FileIdentity owner{.mode = pipe->mode, .uid = pipe->uid, .gid = pipe->gid};
  return give_permissions(made->second.get(), owner, name_of(*pipe),
                          context.rights.making_of(resource), context);
}

const Handler kPipeHandler = {.kind = Pipe::kKind,
                              .recognises = recognises,
                              .obstacle = obstacle,
                              .identity = identity,
                              .capture = capture,
                              .restore_obstacles = restore_obstacles,
                              .create = create,
                              .settle = nullptr};

}  // namespace stasis::resource
