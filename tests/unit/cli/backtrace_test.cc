// cli/backtrace: stack walks over a hand-made image of a stopped child of this test, ELF parsing of
// damaged files, and limits against hostile images.
#include "backtrace/backtrace.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <fstream>
#include <map>
#include <random>
#include <sstream>

#include "arch/registers.h"
#include "backtrace/unwinder.h"
#include "base/sys.h"
#include "resource/handler.h"

using namespace stasis;
using namespace stasis::cli;

namespace {

// Page contents of a child that is stopped under ptrace.
class ChildPages : public model::PageSource {
 public:
  explicit ChildPages(Pid pid)
      : memory_(sys::open("/proc/" + std::to_string(pid) + "/mem", O_RDONLY).take_value()) {}
  Result<void> read(model::SpaceIndex, std::span<const model::Run> runs, ByteSpan out) override {
    for (const model::Run& run : runs) {
      const auto got = sys::pread_full(memory_.get(), out.first(run.length), run.offset);
      if (!got || *got != run.length) return fail(EIO, "short read");
      out = out.subspan(run.length);
    }
    return {};
  }

 private:
  UniqueFd memory_;
};

model::RegularFile describe_file(const std::string& path) {
  model::RegularFile file;
  file.path = path;
  if (const auto fd = sys::open(path, O_RDONLY)) {
    const auto status = *sys::fstat(fd->get());
    file.identity.size = static_cast<u64>(status.st_size);
    file.identity.mtime_ns = status.st_mtim.tv_sec * 1'000'000'000 + status.st_mtim.tv_nsec;
    file.identity.build_id = resource::read_build_id(fd->get());
  }
  return file;
}

// One line of /proc/PID/maps into the image; writable areas are stored, others are not.
void add_area(const std::string& line, model::Image& image, std::map<std::string, u32>& files) {
  std::istringstream words(line);
  std::string range, flags, device, inode, path;
  u64 offset = 0;
  words >> range >> flags >> std::hex >> offset >> device >> inode >> path;
  model::Vma vma;
  vma.start.value = std::stoull(range, nullptr, 16);
  vma.end.value = std::stoull(range.substr(range.find('-') + 1), nullptr, 16);
  vma.offset = offset;
  vma.name = path;
  vma.protection =
      (flags[0] == 'r' ? 1U : 0U) | (flags[1] == 'w' ? 2U : 0U) | (flags[2] == 'x' ? 4U : 0U);
  vma.kind = path == "[vdso]"            ? model::VmaKind::kVdso
             : path.starts_with("[vvar") ? model::VmaKind::kVvar
             : path == "[vsyscall]"      ? model::VmaKind::kVsyscall
             : path.starts_with('/')     ? model::VmaKind::kFile
                                         : model::VmaKind::kAnonymous;
  if (vma.kind == model::VmaKind::kFile) {
    const auto [found, added] = files.emplace(path, image.resources.size());
    if (added) image.resources.emplace_back(describe_file(path));
    vma.resource = found->second;
  }
  if (vma.protection == 3 && vma.kind != model::VmaKind::kVvar) {
    image.spaces[0].runs.push_back({.offset = vma.start.value, .length = vma.length()});
  }
  image.processes[0].memory.vmas.push_back(vma);
}

// The address space of nobody.
class NoPages : public model::PageSource {
 public:
  Result<void> read(model::SpaceIndex, std::span<const model::Run>, ByteSpan) override {
    return fail(EIO, "there are no pages");
  }
};

struct TestImage {
  model::Image image;
  std::unique_ptr<model::PageSource> pages = std::make_unique<NoPages>();
};

std::string stacks_of(TestImage& opened) {
  return backtraces(opened.image, *opened.pages);
}

TestImage image_of(Pid pid) {
  TestImage opened;
  model::Image& image = opened.image;
  image.spaces.emplace_back();
  image.processes.emplace_back().pid = pid;
  std::map<std::string, u32> files;
  std::ifstream maps("/proc/" + std::to_string(pid) + "/maps");
  for (std::string line; std::getline(maps, line);) add_area(line, image, files);
  model::Thread& thread = image.processes[0].threads.emplace_back();
  thread.tid = pid;
  thread.name = "child";
  arch::Registers registers;
  ::ptrace(PTRACE_GETREGS, pid, nullptr, &registers.raw);
  thread.registers.general = arch::to_bytes(registers);
  opened.pages = std::make_unique<ChildPages>(pid);
  return opened;
}

volatile int keep_frames = 0;

[[gnu::noinline]] void innermost_function() {
  ::raise(SIGSTOP);
  keep_frames = 1;
}
[[gnu::noinline]] void function_in_between() {
  innermost_function();
  keep_frames = 1;
}
void on_usr1(int) {
  innermost_function();
  keep_frames = 1;
}

// A child of ours, traced, stopped in `body`; killed when it goes out of scope.
struct StoppedChild {
  Pid pid;
  explicit StoppedChild(void (*body)()) : pid(::fork()) {
    if (pid == 0) {
      ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
      body();
      ::_exit(0);
    }
    int status = 0;
    for (;;) {  // signals before the stop we want go on to the child
      ::waitpid(pid, &status, 0);
      if (!WIFSTOPPED(status) || WSTOPSIG(status) == SIGSTOP) break;
      ::ptrace(PTRACE_CONT, pid, nullptr, WSTOPSIG(status));
    }
    REQUIRE(WIFSTOPPED(status));
  }
  ~StoppedChild() {
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
  }
};

bool in_order(const std::string& text, std::vector<std::string> parts) {
  size_t at = 0;
  for (const std::string& part : parts) {
    at = text.find(part, at);
    if (at == std::string::npos) return false;
  }
  return true;
}

ElfFile::Reader reader_of(const Bytes& bytes) {
  return [&bytes](u64 offset, ByteSpan out) {
    if (offset > bytes.size() || out.size() > bytes.size() - offset) return false;
    std::memcpy(out.data(), bytes.data() + offset, out.size());
    return true;
  };
}

}  // namespace

TEST_CASE("functions of a program and of libc are named, innermost first") {
  const StoppedChild child(function_in_between);
  auto opened = image_of(child.pid);
  const std::string text = stacks_of(opened);
  CAPTURE(text);
  CHECK(in_order(text, {"thread", "raise", "innermost_function()+", "function_in_between()+",
                        "main+", "__libc_start_main", "_start"}));
}

TEST_CASE("a walk goes through a signal handler to what it interrupted") {
  const StoppedChild child([] {
    ::signal(SIGUSR1, on_usr1);
    ::raise(SIGUSR1);
    keep_frames = 1;
  });
  auto opened = image_of(child.pid);
  const std::string text = stacks_of(opened);
  CAPTURE(text);
  CHECK(in_order(text, {"innermost_function()+", "on_usr1(int)+", "<signal handler called>",
                        "raise", "main+"}));
}

TEST_CASE("a file that changed is named and not used") {
  const StoppedChild child(function_in_between);
  auto opened = image_of(child.pid);
  for (auto& resource : opened.image.resources) {
    if (auto* file = std::get_if<model::RegularFile>(&resource)) {
      file->identity.build_id = "00";
    }
  }
  const std::string text = stacks_of(opened);
  CAPTURE(text);
  CHECK(text.find("has changed since the checkpoint") != std::string::npos);
  CHECK(text.find("innermost_function") == std::string::npos);
}

TEST_CASE("an image without memory, areas or true registers gives a text, not a crash") {
  TestImage opened;
  opened.image.processes.emplace_back().threads.emplace_back();
  opened.image.processes[0].memory.space = 77;
  CHECK(stacks_of(opened).find("registers") != std::string::npos);
  arch::Registers registers;
  registers.raw.rip = 0x1234;
  registers.raw.rsp = ~0ULL - 3;
  opened.image.processes[0].threads[0].registers.general = arch::to_bytes(registers);
  opened.image.processes[0].threads[0].name = "\033[2J";
  const std::string text = stacks_of(opened);
  CHECK(text.find("(not mapped)") != std::string::npos);
  CHECK(text.find('\033') == std::string::npos);
}

// Pages of another source with bytes changed at random.
class DamagedPages : public model::PageSource {
 public:
  DamagedPages(model::PageSource& whole, unsigned seed) : whole_(whole), random_(seed) {}
  Result<void> read(model::SpaceIndex space, std::span<const model::Run> runs,
                    ByteSpan out) override {
    TRY(whole_.read(space, runs, out));
    for (size_t at = random_() % 64; at < out.size(); at += 1 + random_() % 64) {
      out[at] = static_cast<std::byte>(random_());
    }
    return {};
  }

 private:
  model::PageSource& whole_;
  std::minstd_rand random_;
};

TEST_CASE("hostile unwind tables and stacks neither crash nor hold up a walk") {
  const StoppedChild child(function_in_between);
  auto opened = image_of(child.pid);
  auto& image = opened.image;
  // The image stores every readable page, so the tables are read from it and not from the files.
  image.spaces[0].runs.clear();
  for (const model::Vma& vma : image.processes[0].memory.vmas) {
    const bool stored = (vma.protection & 1U) != 0 && vma.kind != model::VmaKind::kVvar &&
                        vma.kind != model::VmaKind::kVsyscall && vma.kind != model::VmaKind::kVdso;
    if (stored) image.spaces[0].runs.push_back({.offset = vma.start.value, .length = vma.length()});
  }
  CHECK(stacks_of(opened).find("innermost_function()+") != std::string::npos);
  const auto whole = std::move(opened.pages);
  for (unsigned seed = 1; seed <= 100; ++seed) {
    CAPTURE(seed);
    opened.pages = std::make_unique<DamagedPages>(*whole, seed);
    CHECK(stacks_of(opened).starts_with("process "));
  }
}

TEST_CASE("every truncation of an ELF file, and damage to its headers, is survived") {
  const Bytes whole = *sys::read_bytes("/proc/self/exe");
  REQUIRE(ElfFile::parse(reader_of(whole), whole.size()).has_value());
  for (size_t size = 0; size < 4096; size += 7) {
    const Bytes cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
    auto elf = ElfFile::parse(reader_of(cut), cut.size());
    if (elf) CHECK(elf->symbol_at(0x1000) == nullptr);
  }
  for (size_t at = 0; at < 64; ++at) {
    Bytes damaged = whole;
    damaged[at] = std::byte{0xff};
    auto elf = ElfFile::parse(reader_of(damaged), damaged.size());
    if (elf) (void)elf->symbol_at(0x1000);
  }
}

TEST_CASE("words are read across pages, zeros where nothing is stored, nothing where unmapped") {
  TestImage opened;
  opened.image.spaces.emplace_back();
  NoPages none;
  Modules modules(opened.image, none);
  model::Memory memory;
  model::Vma vma;
  vma.start.value = 0x10000;
  vma.end.value = 0x12000;
  memory.vmas.push_back(vma);
  SavedMemory saved(memory, modules);
  CHECK(saved.word(0x10000) == 0);
  CHECK(saved.word(0x10ffc) == 0);
  CHECK(!saved.word(0x11ffc).has_value());
  CHECK(!saved.word(0xfff8).has_value());
  CHECK(!saved.word(~0ULL).has_value());
}
