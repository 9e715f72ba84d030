// The harness of round_trip.h. It touches no process but its own.
#include "round_trip.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/syscall.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

namespace stasis::resource {
namespace {

// Runs the calls of a script in this very process.
Result<void> run_here(const trace::Script& script) {
  Bytes memory = script.serialise(RemoteAddr{0});
  std::vector<i64> results;
  for (const auto& call : script.operations()) {
    long args[6] = {};
    for (size_t i = 0; i < call.args.size(); ++i) {
      if (const auto* number = std::get_if<u64>(&call.args[i])) {
        args[i] = static_cast<long>(*number);
      } else if (const auto* result = std::get_if<trace::ResultOf>(&call.args[i])) {
        args[i] = results[result->operation];
      } else {
        const auto data = std::get<trace::DataRef>(call.args[i]);
        args[i] = reinterpret_cast<long>(memory.data() + script.data_offset(data));
      }
    }
    const auto done = sys::raw(call.what, "here", call.number, args[0], args[1], args[2], args[3],
                               args[4], args[5]);
    if (!done && call.check != 0) return done.error();
    results.push_back(done ? *done : -done.error().code);
  }
  return {};
}

void move_to(UniqueFd fd, int number, Back& back) {
  if (fd.get() != number) {
    REQUIRE(::dup3(fd.get(), number, O_CLOEXEC) == number);
    back.fds[number] = UniqueFd(number);
  } else {
    back.fds[number] = std::move(fd);
  }
}

}  // namespace

Result<void> MemoryPages::read(model::SpaceIndex space, std::span<const model::Run> runs,
                               ByteSpan out) {
  std::fill(out.begin(), out.end(), std::byte{0});
  size_t at = 0;
  for (const model::Run& run : runs) {
    const Bytes& from = contents[space];
    const u64 have = run.offset < from.size() ? from.size() - run.offset : 0;
    std::memcpy(out.data() + at, from.data() + run.offset, std::min(have, run.length));
    at += run.length;
  }
  return {};
}

Result<model::SpaceIndex> FakeCapture::add_content(UniqueFd file, u64 size, std::string label) {
  Bytes bytes(size);
  bytes.resize(TRY(sys::pread_full(file.get(), bytes, 0)));
  pages_.contents.push_back(std::move(bytes));
  model::Space space{std::move(label), size, {}};
  if (size != 0) space.runs.push_back({0, page_up(size), model::RunKind::kData});
  image_.spaces.push_back(space);
  return static_cast<model::SpaceIndex>(image_.spaces.size() - 1);
}

std::optional<model::OpenFileIndex> FakeCapture::open_file(Pid, int number) {
  for (const model::Descriptor& descriptor : image_.processes[0].descriptors) {
    if (descriptor.number == number) return descriptor.open_file;
  }
  return std::nullopt;
}

bool FakeCapture::has_peer(u64 inode, bool want_reader) {
  for (const model::Descriptor& descriptor : image_.processes[0].descriptors) {
    const auto status = sys::fstat(descriptor.number);
    const int mode = ::fcntl(descriptor.number, F_GETFL) & O_ACCMODE;
    if (status && status->st_ino == inode && S_ISFIFO(status->st_mode) &&
        (mode == O_RDWR || (mode == O_RDONLY) == want_reader)) {
      return true;
    }
  }
  return false;
}

std::vector<std::string> FakeCapture::links_of(const struct stat& object) {
  std::vector<std::string> links;
  for (const model::Descriptor& descriptor : image_.processes[0].descriptors) {
    const auto status = sys::fstat(descriptor.number);
    auto link = sys::read_link("/proc/self/fd/" + std::to_string(descriptor.number));
    if (status && link && status->st_dev == object.st_dev && status->st_ino == object.st_ino) {
      links.push_back(std::move(*link));
    }
  }
  return links;
}

FdFacts facts_of(int number) {
  const auto pidfd = sys::pidfd_open(::getpid());
  REQUIRE(pidfd.ok());
  auto facts = read_facts(::getpid(), pidfd->get(), number);
  REQUIRE(facts.ok());
  return std::move(facts).take_value();
}

std::string refusal_of(int number) {
  Saved saved;
  saved.image.processes.emplace_back();
  FakeCapture capture(saved.image, saved.pages);
  std::string text;
  for (const Refusal& refusal : obstacles(facts_of(number), capture)) text += refusal.reason + "\n";
  return text;
}

Result<Saved> save(const std::vector<int>& numbers) {
  Saved saved;
  saved.image.processes.emplace_back();
  model::Process& process = saved.image.processes[0];
  process.pid = ::getpid();
  std::string boot_id = TRY(sys::read_file("/proc/sys/kernel/random/boot_id"));
  saved.image.origin.boot_id = boot_id.substr(0, boot_id.find('\n'));
  // Numbers first: epoll and pipes ask for them.
  std::vector<int> firsts;
  for (const int number : numbers) {
    model::OpenFileIndex index = static_cast<model::OpenFileIndex>(firsts.size());
    for (size_t i = 0; i < firsts.size(); ++i) {
      if (*sys::same_open_file(process.pid, firsts[i], process.pid, number)) {
        index = static_cast<model::OpenFileIndex>(i);
      }
    }
    if (index == firsts.size()) firsts.push_back(number);
    process.descriptors.push_back({number, true, index});
  }
  FakeCapture capture(saved.image, saved.pages);
  std::map<std::string, model::ResourceIndex> known;
  for (const int number : firsts) {
    const FdFacts facts = facts_of(number);
    const Handler* handler = handler_for(facts);
    if (handler == nullptr) return fail(EOPNOTSUPP, refuse_unknown(facts).reason);
    const std::string identity = handler->identity(facts);
    auto found = identity.empty() ? known.end() : known.find(identity);
    if (found == known.end()) {
      saved.image.resources.push_back(TRY(handler->capture(facts, capture)));
      const auto index = static_cast<model::ResourceIndex>(saved.image.resources.size() - 1);
      found =
          known.insert_or_assign(identity.empty() ? std::to_string(index) : identity, index).first;
    }
    saved.image.open_files.push_back(
        TRY(capture_open_file(facts, found->second, saved.image.resources[found->second])));
  }
  return saved;
}

Result<Back> bring_back(Saved& saved, RestoreOptions options) {
  RestoreContext context{saved.image, saved.pages, std::move(options), {}, {}};
  for (const Refusal& refusal : restore_obstacles(context)) {
    return fail(EPERM, refusal.subject + ": " + refusal.reason, refusal.advice);
  }
  Restored restored = TRY(create_open_files(context));
  Back back;
  // Above all saved numbers first, so that none is overwritten.
  for (UniqueFd& fd : restored.open_files) fd = TRY(sys::duplicate(fd.get(), 400));
  for (auto& [key, fd] : context.made) fd = TRY(sys::duplicate(fd.get(), 400));
  for (const model::Descriptor& descriptor : saved.image.processes[0].descriptors) {
    move_to(TRY(sys::duplicate(restored.open_files[descriptor.open_file].get(), 400)),
            descriptor.number, back);
  }
  trace::Script script;
  SettleCalls calls{::getpid(), &script, saved.image.processes[0], nullptr};
  settle(context, calls);
  // As in a target: closing a descriptor of ours later would drop our POSIX locks.
  restored.open_files.clear();
  context.made.clear();
  TRY(run_here(script));
  back.notes = context.notes;
  return back;
}

Result<Twice> round_trip(std::vector<UniqueFd> fds) {
  std::vector<int> numbers;
  for (const UniqueFd& fd : fds) numbers.push_back(fd.get());
  Twice twice;
  twice.first = TRY(save(numbers));
  fds.clear();
  twice.back = TRY(bring_back(twice.first));
  twice.second = TRY(save(numbers));
  return twice;
}

TemporaryDirectory::TemporaryDirectory() {
  std::string name = (std::filesystem::temp_directory_path() / "stasis-resource-XXXXXX").string();
  REQUIRE(::mkdtemp(name.data()) != nullptr);
  path_ = name;
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

void write_file(const std::string& path, const std::string& text) {
  const UniqueFd fd = must_open(path, O_WRONLY | O_CREAT | O_TRUNC);
  REQUIRE(sys::write_all(fd.get(), std::as_bytes(std::span(text))).ok());
}

std::string read_all(int fd) {
  std::string text(65536, '\0');
  const auto got = sys::pread_full(fd, std::as_writable_bytes(std::span(text)), 0);
  REQUIRE(got.ok());
  text.resize(*got);
  return text;
}

UniqueFd must_open(const std::string& path, int flags, mode_t mode) {
  auto fd = sys::open(path, flags, mode);
  REQUIRE_MESSAGE(fd.ok(), path);
  return std::move(fd).take_value();
}

}  // namespace stasis::resource
